package doctor

// kind is what is known, offline, of one sort of credential.
type kind struct {
	name     string
	provider string
	title    string
	extent   Extent
	reaches  string // unless the place says something more exact
	move     Move
}

const (
	reachOfMaker = "everything that it was made for, which cannot be told offline; take it for the whole account, delete included"
	railwayAll   = "every workspace and project of the account, in every environment, delete included; no expiry, and no second factor is asked for"
)

// Railway (its public API and CLI documentation, and the CLI's source).
var (
	railwayLogin        = kind{"railway-login", "railway", "login of the Railway CLI", ExtentAccount, railwayAll, moveRailwayLogin}
	railwayAccountToken = kind{"railway-api-token", "railway", "Railway account or workspace token", ExtentAccount, railwayAll + " (a workspace token: all of one workspace)", moveRailway}
	railwayToken        = kind{"railway-token", "railway", "Railway token", ExtentAccount, "cannot be told offline: one environment of a project, or the whole account, delete included; no expiry", moveRailway}
	railwayProjectToken = kind{"railway-project-token", "railway", "Railway project token", ExtentSystem, "one environment of one project: all of its services, variables and volumes; no expiry (if an account token was put there instead: everything)", moveRailway}
)

// GitHub (its documentation of token types and their prefixes).
var (
	githubLogin       = kind{"github-login", "github", "login of the GitHub CLI", ExtentAccount, "every repository, organisation and gist of the user that its scopes allow, delete of branches, tags and releases included; no expiry", moveGitHubLogin}
	githubKeyring     = kind{"github-login-keyring", "github", "login of the GitHub CLI, kept in the system's keyring", ExtentAccount, "", moveGitHubLogin}
	githubClassic     = kind{"github-classic-token", "github", "GitHub personal access token (classic)", ExtentAccount, "every repository and organisation of its user, as far as its scopes allow: with repo it force-pushes and deletes; it may have no expiry", moveGitHub}
	githubFineGrained = kind{"github-fine-grained-token", "github", "GitHub personal access token (fine-grained)", ExtentAccount, "the repositories and permissions chosen when it was made, which cannot be told offline; where it may write contents it deletes branches, tags and releases", moveGitHub}
	githubOAuth       = kind{"github-oauth-token", "github", "GitHub OAuth token", ExtentAccount, "every repository and organisation of its user, as far as the scopes of the application allow; no expiry", moveGitHub}
	githubAppUser     = kind{"github-app-user-token", "github", "GitHub App token for a user", ExtentAccount, "what the application and its user may both do; refreshed for six months, or without expiry where the application chose so", moveGitHub}
	githubToken       = kind{"github-token", "github", "GitHub token", ExtentAccount, "every repository and organisation that it was made for, which cannot be told offline", moveGitHub}
)

// Supabase (its documentation of API keys, and the CLI's source).
var (
	supabaseAccessToken = kind{"supabase-access-token", "supabase", "Supabase access token", ExtentAccount, "every organisation and project of the account through the management API, delete of projects and reading of their keys included", moveSupabase}
	supabaseServiceRole = kind{"supabase-service-role", "supabase", "Supabase service role key", ExtentSystem, "one project: every row of every table, past row level security; all users and files; valid for years", moveSupabaseKey}
	supabaseSecretKey   = kind{"supabase-secret-key", "supabase", "Supabase secret key", ExtentSystem, "one project: every row of every table, past row level security; all users and files; no expiry", moveSupabaseKey}
	supabaseJWTSecret   = kind{"supabase-jwt-secret", "supabase", "Supabase JWT secret", ExtentSystem, "one project: whoever has it signs keys of every role and for every user", moveSupabaseKey}
	supabaseDatabase    = kind{"supabase-db-password", "supabase", "Supabase database password", ExtentSystem, "the database of one project as the role postgres: drops and truncates", movePostgres}
)

// Clouds and clusters.
var (
	awsAccessKey     = kind{"aws-access-key", "aws", "AWS access key", ExtentAccount, "the AWS account, as far as its user may go, in every region and environment of it; no expiry", moveAWS}
	awsOtherKey      = kind{"aws-compatible-key", "aws", "key for an AWS compatible service", ExtentUnknown, reachOfMaker, moveAWS}
	kubernetesUser   = kind{"kubernetes-user", "kubernetes", "Kubernetes user", ExtentSystem, "a cluster", moveKubernetes}
	kubernetesPod    = kind{"kubernetes-pod-account", "kubernetes", "service account of this pod", ExtentSystem, "the cluster that this runs in", movePod}
	googleUser       = kind{"gcloud-login", "google", "Google Cloud login", ExtentAccount, "every project of the account that was logged in; its refresh token does not expire", moveGoogle}
	googleService    = kind{"gcp-service-account-key", "google", "Google Cloud service account key", ExtentAccount, "whatever the service account may do, often in several projects; no expiry", moveGoogle}
	azureLogin       = kind{"azure-login", "azure", "Azure CLI login", ExtentAccount, "every subscription of the account; renews itself", moveAzure}
	azureService     = kind{"azure-service-principal", "azure", "Azure service principal secret", ExtentAccount, "every subscription in which the service principal has a role", moveAzure}
	digitalOcean     = kind{"digitalocean-token", "digitalocean", "DigitalOcean token", ExtentAccount, reachOfMaker, moveProvider}
	terraformToken   = kind{"terraform-token", "terraform", "HCP Terraform token", ExtentAccount, "every workspace that its user may run, and so what their providers' credentials reach", moveProvider}
	vaultToken       = kind{"vault-token", "vault", "Vault token", ExtentAccount, "whatever its policies allow: often the credentials of others", moveVault}
	vaultAppRole     = kind{"vault-approle", "vault", "secret id of a Vault AppRole", ExtentAccount, "with the role's id, which is no secret: whatever tokens of the role may do, often the credentials of others", moveVault}
	hostingToken     = kind{"hosting-token", "hosting", "token of a hosting provider", ExtentAccount, reachOfMaker, moveProvider}
	databaseURL      = kind{"database-url", "database", "database login in a URL", ExtentSystem, "a database", movePostgres}
	databasePassword = kind{"database-password", "database", "database password", ExtentSystem, "the databases that its role may enter, with all that the role may do", movePostgres}
)

// What others run, and the rest.
var (
	gitPassword = kind{"git-credential", "git", "password for git over HTTPS", ExtentCode, "the repositories of a host", moveGit}
	netrcLogin  = kind{"netrc-login", "netrc", "login in a netrc file", ExtentUnknown, "a host", moveNetrc}
	urlPassword = kind{"url-password", "url", "password in a URL", ExtentUnknown, "a host", moveProvider}
	gitlabToken = kind{"gitlab-token", "gitlab", "GitLab token", ExtentAccount, "every project and group that it was made for, which cannot be told offline", moveProvider}
	npmToken    = kind{"npm-token", "npm", "npm token", ExtentCode, "publishes and unpublishes the packages of its owner, which others then install", moveRegistry}
	pypiToken   = kind{"pypi-token", "pypi", "PyPI token", ExtentCode, "publishes the packages of its owner, which others then install", moveRegistry}
	dockerLogin = kind{"docker-login", "docker", "login of a container registry", ExtentCode, "pushes and deletes images, which others then run", moveRegistry}
	sshKey      = kind{"ssh-key", "ssh", "SSH key without a passphrase", ExtentCode, "every server and git host that trusts it; pushes past any token's limits", moveSSH}
	stripeKey   = kind{"stripe-key", "stripe", "Stripe live key", ExtentAccount, "payments, refunds and customers of the live account; no expiry", moveProvider}
	slackToken  = kind{"slack-token", "slack", "Slack token", ExtentUnknown, "the channels and files that its application may see", moveProvider}
)
