// Package github is what the gateway knows of GitHub: a row for each of the 1,223 operations of its REST
// API, and how a repository, a pull request or a commit's name is looked up (docs/issuers/github.md).
//
// It owns: the pack, the settings of a target of this kind, the questions that are asked of GitHub. An
// environment is a list of repositories, known by their numbers and not by their names.
//
// It does not know: who calls, what a lease covers, the answers' way back. It carries no git: a push over HTTPS
// or SSH goes to github.com, which is not among the pack's hosts, and neither is uploads.github.com. GitHub's
// GraphQL API has no pack and is refused.
//
// It trusts: GitHub to tell which repository a name stands for. Everything that belongs to an account and
// not to one repository is in no environment.
package github
