package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/spf13/cobra"

	"github.com/hourkey/hourkey/web/api"
)

// The variables of an AWS credential, as every SDK reads them.
const (
	awsKeyID   = "AWS_ACCESS_KEY_ID"
	awsKey     = "AWS_SECRET_ACCESS_KEY"
	awsSession = "AWS_SESSION_TOKEN"
	awsExpires = "AWS_CREDENTIAL_EXPIRATION"
)

func (a *app) credentialAWSCommand() *cobra.Command {
	var w credentialAsk
	var serve bool
	cmd := &cobra.Command{
		Use:   "aws [--request REQUEST | --task TASK --environment ENVIRONMENT]",
		Short: "Print an AWS credential as credential_process wants it, or serve it on loopback",
		Long: `Print an AWS credential as the SDKs' credential_process wants it, or serve it, with --serve, as the container
credentials provider asks for it: on 127.0.0.1, to who brings the password that is printed, until the lease ends or ^C.

Each run of credential_process is a lease of its own, which lives until its end: AWS can end none singly. A request can
be named only once. What waits for a human fails, and says what collects it. Where exec can start the command, it is the
better way.`,
		Example: `  # ~/.aws/config
  [profile staging]
  credential_process = hourkey credential aws --task TASK --environment staging

  # for programs that are started elsewhere: this stays in the foreground, and they get what it prints
  (umask 077; hourkey credential aws --serve --request REQUEST >endpoint)
  . ./endpoint; PROGRAM        # in another shell`,
		Args: none,
		RunE: a.does(func(ctx context.Context, _ []string) error {
			return a.credential(ctx, &w, func(got taken) error {
				chosen, err := pick(got.credentials, w.target, "AWS credential", awsKeyID, awsKey)
				if err != nil {
					return err
				}
				a.releaseBut(ctx, got, chosen)
				if serve {
					return a.serveAWS(ctx, got.client, chosen)
				}
				return a.printAWS(chosen)
			})
		}),
	}
	a.credentialFlags(cmd, &w)
	cmd.Flags().BoolVar(&serve, "serve", false, "serve it on loopback, and print what programs find it by")
	return a.withOutput(cmd)
}

// processCredential is what credential_process prints, version 1 (AWS SDKs and Tools Reference Guide, "Process credential provider").
type processCredential struct {
	Version         int
	AccessKeyID     string `json:"AccessKeyId"`
	SecretAccessKey string
	SessionToken    string `json:",omitempty"` // an IAM user's key has none
	Expiration      time.Time
}

func (a *app) printAWS(c api.Credential) error {
	a.warnOfScrollback()
	return json.NewEncoder(a.stdout).Encode(processCredential{
		Version: 1, AccessKeyID: c.Values[awsKeyID].Reveal(), SecretAccessKey: c.Values[awsKey].Reveal(), SessionToken: c.Values[awsSession].Reveal(),
		Expiration: c.Expires.UTC().Truncate(time.Second),
	})
}
