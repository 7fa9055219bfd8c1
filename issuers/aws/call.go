package aws

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/smithy-go"
)

// question is a call of a service that only looks. The SDK has a module for each service; of these few calls the shape
// is written here.
type question struct {
	permission string // what IAM wants for it
	host       string // before the region; "iam" has none
	target     string // X-Amz-Target of the JSON protocols, with their version before a space; empty for the query protocol
	path       string
	body       string
}

// maxAnswer is how many bytes of an answer are read.
const maxAnswer = 1 << 20

// ask makes one call as somebody. A refusal is a smithy.APIError, as of the SDK.
func (i *Issuer) ask(ctx context.Context, as aws.Credentials, q question) ([]byte, error) {
	service, host, region := i.address(q)
	request, err := http.NewRequestWithContext(ctx, q.method(), "https://"+host+"/"+q.path, strings.NewReader(q.body))
	if err != nil {
		return nil, err
	}
	q.setHeaders(request)
	status, answer, err := i.send(request, as, q.body, service, region)
	switch {
	case err != nil:
		return nil, err
	case status != http.StatusOK:
		return nil, &smithy.GenericAPIError{Code: refusal(status, answer), Message: q.permission}
	}
	return answer, nil
}

// send signs a request and gives the answer, whatever its status.
func (i *Issuer) send(request *http.Request, as aws.Credentials, body, service, region string) (status int, answer []byte, err error) {
	sum := sha256.Sum256([]byte(body))
	digest := hex.EncodeToString(sum[:])
	if service == s3Name {
		request.Header.Set("X-Amz-Content-Sha256", digest)
	}
	if err := v4.NewSigner().SignHTTP(request.Context(), as, request, digest, service, region, i.config.Now()); err != nil {
		return 0, nil, err
	}
	response, err := i.http.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	return response.StatusCode, answer, err
}

var codeInXML = regexp.MustCompile(`<Code>([A-Za-z.]+)</Code>`)

// refusal reads the provider's code out of an answer, of either protocol.
func refusal(status int, answer []byte) string {
	var told struct {
		Type string `json:"__type"` // of AWS's JSON protocols
		Code string // of MinIO's administration
	}
	_ = json.Unmarshal(answer, &told) // what is no JSON has neither
	code := cmp.Or(told.Type[strings.LastIndexByte(told.Type, '#')+1:], told.Code)
	if match := codeInXML.FindSubmatch(answer); match != nil {
		code = string(match[1])
	}
	if code == "" && status == http.StatusForbidden {
		code = "AccessDenied"
	}
	return cmp.Or(code, fmt.Sprintf("status %d", status))
}

// address says where a service is, and for which region a call is signed.
func (i *Issuer) address(q question) (service, host, region string) {
	region = i.config.Settings.Region
	switch q.host {
	case "iam":
		region = map[string]string{"aws": "us-east-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}[i.role.partition]
		if i.role.partition == "aws" {
			return "iam", "iam." + i.role.suffix(), region
		}
		return "iam", "iam." + region + "." + i.role.suffix(), region
	case "api.ecr":
		service = "ecr"
	default:
		service = q.host
	}
	return service, q.host + "." + region + "." + i.role.suffix(), region
}

func (q question) method() string {
	if q.body == "" {
		return http.MethodGet
	}
	return http.MethodPost
}

func (q question) setHeaders(request *http.Request) {
	version, target, isJSON := strings.Cut(q.target, " ")
	switch {
	case isJSON:
		request.Header.Set("Content-Type", "application/x-amz-json-"+version)
		request.Header.Set("X-Amz-Target", target)
	case q.body != "":
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	}
}
