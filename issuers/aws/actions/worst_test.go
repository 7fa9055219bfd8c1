package actions

import (
	"path"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/hourkey/hourkey/broker"
)

// What a pattern is worth is what the worst of its actions is worth, however it is written.
func TestWorstOfPatterns(t *testing.T) {
	for pattern, want := range map[string]broker.Actions{
		"s3:GetObject":           broker.Read,
		"S3:gETobject":           broker.Read,
		"s3:GetObjec?":           broker.Read,
		"s3:ListBucket*":         broker.Read,
		"s3:PutObject":           broker.Write,
		"s3:*etObject":           broker.Read,
		"s3:DeleteObject":        broker.Delete,
		"s3:DeleteObject*":       broker.Delete | broker.Admin, // DeleteObjectTagging
		"dynamodb:*Item":         broker.Read | broker.Write | broker.Delete,
		"lambda:GetFunction":     broker.Admin,
		"lambda:GetFunction*":    broker.Read | broker.Admin,
		"ssm:Get*":               everything, // with GetAccessToken, which is refused
		"sts:AssumeRole":         everything, // refused
		"ecr:Get*":               everything, // with GetAuthorizationToken, which is refused
		"s3:*":                   everything,
		"s3:**":                  everything,
		"s3:*?*":                 everything,
		"*":                      everything,
		"*:*":                    everything,
		"s?:GetObject":           everything,
		"s*:GetObject":           everything,
		"s3:NoSuchThing":         everything, // next year's, or another endpoint's
		"s3:NoSuch*":             everything,
		"nosuch:GetObject":       everything,
		"s3: GetObject":          everything,
		" s3:GetObject":          everything,
		"s3:GetObject ":          everything,
		"s3:GetObject\n":         everything,
		"s3:Get\u200bObject":     everything,
		"s3:GetObject:x":         everything,
		"s3:":                    everything,
		"s3":                     everything,
		":GetObject":             everything,
		"":                       everything,
		"s3:[GD]etObject":        everything, // no class of letters in IAM, so it fits nothing
		`s3:\GetObject`:          everything,
		"s3:GetObject,s3:Delete": everything,
	} {
		if got := Worst(pattern); got != want {
			t.Errorf("%q is %s; want %s", pattern, got, want)
		}
	}
}

// No action is worth less as a pattern than alone, nor with a star, and the star alone is everything.
func TestWorstIsNeverMilderThanAnyActionThatItFits(t *testing.T) {
	for action := range All() {
		class := Classify(action).Class
		if class == 0 {
			class = everything
		}
		if got := Worst(strings.ToUpper(action)); got != class {
			t.Errorf("%s is %s as a pattern, and %s alone", action, got, class)
		}
		service, name, _ := strings.Cut(action, ":")
		for _, pattern := range []string{service + ":" + firstLetters(name) + "*", service + ":*" + name[1:], service + ":?" + name[1:]} {
			if got := Worst(pattern); !class.IsSubsetOf(got) {
				t.Errorf("%s fits %s, which is %s; alone it is %s", pattern, action, got, class)
			}
		}
	}
}

func firstLetters(name string) string { return name[:min(3, len(name))] }

// The patterns of IAM are those of path.Match without its brackets and escapes, as far as no slash is in a name.
func TestFitsIsWhatIAMReads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringMatching(`[ab*?]{0,8}`).Draw(t, "pattern")
		name := rapid.StringMatching(`[ab]{0,8}`).Draw(t, "name")
		want, err := path.Match(pattern, name)
		if got := fits(pattern, name); err != nil || got != want {
			t.Errorf("fits(%q, %q) = %t; want %t, %v", pattern, name, got, want, err)
		}
	})
}

// What the first pattern of a service costs: the largest one.
func BenchmarkRate(b *testing.B) {
	var list []fact
	for f := range facts(table) {
		if f.service == "ec2" {
			list = append(list, f)
		}
	}
	for b.Loop() {
		rate(list)
	}
}

func BenchmarkWorst(b *testing.B) {
	for _, pattern := range []string{"s3:GetObject", "s3:Get*", "ec2:Describe*", "ec2:*e*e*e*x", "ec2:*"} {
		b.Run(pattern, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Worst(pattern)
			}
		})
	}
}
