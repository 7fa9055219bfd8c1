// Package config reads what a user writes: hourkey.yaml, environments/*.yaml and the policy files.
//
// It owns: where these files lie and who may be able to write them, the strict decoding of
// hourkey.yaml and of the head of an environment, secret references, and the configuration hash that
// pins all of it (invariant 12). It is the one place that knows viper.
//
// It does not know: what a task or a guardrail says (package policies) nor what stands below the kind
// of a target (package issuers); it hands them bytes and YAML nodes.
//
// It trusts: root, and the OS user that the broker runs as. A file that anybody else could have
// written is refused before it is read, because a configuration is as powerful as an approval.
package config
