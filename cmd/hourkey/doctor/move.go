package doctor

// The moves: how to take a credential out of the agent's reach. Each begins with a new credential: the
// old one may have been read by anything that ran as this user, and a secret that was read stays read.
var (
	moveRailway = Move{
		Target: "railway: {token: file:secrets/railway-token, project: PROJECT, environment: ENVIRONMENT}",
		Steps: []string{
			"make a new token at Railway for the broker alone, and put it into secrets/railway-token on the broker's machine",
			"name the target above under `targets:` of the broker's environments/ENVIRONMENT.yaml",
			"delete it here; commands run under `hourkey exec` get a placeholder that is worth nothing elsewhere",
			"revoke the old token at Railway (account or project settings, Tokens): it may have been read",
		},
	}
	moveRailwayLogin = Move{
		Target: moveRailway.Target,
		Steps: []string{
			moveRailway.Steps[0],
			moveRailway.Steps[1],
			"run `railway logout` here, and see that ~/.railway/config.json holds no token any more",
			"end the session at Railway (account settings, Sessions): it may have been read",
		},
	}
	moveGitHub = Move{
		Target: "github: {token: file:secrets/github-token, repositories: [OWNER/REPOSITORY]}",
		Steps: []string{
			"make a new token at GitHub for the broker alone, and put it into secrets/github-token on the broker's machine",
			"name the target above under `targets:` of the broker's environments/ENVIRONMENT.yaml (docs/gateway.md says more, also when App tokens are better)",
			"delete it here",
			"revoke the old token at GitHub (settings, Developer settings): it may have been read",
		},
	}
	moveGitHubLogin = Move{
		Target: moveGitHub.Target,
		Steps: []string{
			moveGitHub.Steps[0],
			moveGitHub.Steps[1],
			"run `gh auth logout` here, for each host and user",
			"revoke the GitHub CLI at GitHub (settings, Applications): its token may have been read",
		},
	}
	moveSupabase = Move{
		Target: "supabase: {token: file:secrets/supabase-token, project: PROJECT}",
		Steps: []string{
			"make a new access token at Supabase for the broker alone, and put it into secrets/supabase-token on the broker's machine",
			"name the target above under `targets:` of the broker's environments/ENVIRONMENT.yaml (docs/gateway.md says more)",
			"run `supabase logout` here, or delete it where it lies",
			"revoke the old token at Supabase (account, Access Tokens): it may have been read",
		},
	}
	moveSupabaseKey = Move{
		Target: moveSupabase.Target,
		Steps: []string{
			"rotate the key at Supabase (project settings, API keys), and give the new one to the running service alone",
			"let agents reach the project through the target above, and its database through one of kind `postgres`",
			"delete it here; what is developed here can use a local project or the publishable key",
		},
	}
	movePostgres = Move{
		Target: "postgres: {dsn: file:secrets/DATABASE-dsn, owner: OWNER}",
		Steps: []string{
			"PostgreSQL: make a login of its own for the broker (`hourkeyd check --live` prints the SQL), and name the target above; commands under `hourkey exec` get DATABASE_URL and the PG variables of a role that dies with the lease",
			"other databases: Hourkey has no target for them yet; keep the login with the service, out of this user's reach",
			"delete it here, then change the role's password: it may have been read",
		},
	}
	moveAWS = Move{
		Target: "aws: {role: ROLE_ARN, region: REGION, access_key: file:secrets/aws-id, secret_key: file:secrets/aws-key, resources: [s3/BUCKET/*]}",
		Steps: []string{
			"AWS: make a role for each environment, and a user for the broker alone that may do nothing but assume it (docs/issuers/aws.md has both to paste; for another server that speaks S3, `endpoint:` in the place of the role), and name the target above",
			"what people do themselves: logins that end by themselves (`aws sso login`, `aws login`), under a role that cannot delete",
			"delete the key here; commands under `hourkey exec` get a session of minutes",
			"deactivate, then delete the old key in IAM: it may have been read",
		},
	}
	moveKubernetes = Move{
		Target: "kubernetes: {server: https://HOST:6443, ca: file:secrets/cluster-ca.pem, token: file:secrets/cluster-token, namespace: NAMESPACE}",
		Steps: []string{
			"make an account for the broker in the cluster (docs/issuers/kubernetes.md has it to paste), and name the target above",
			"delete the user here (`kubectl config delete-user NAME`), or take the file away; kubectl under `hourkey exec` gets a kubeconfig of its own",
			"revoke it: delete the token's Secret or the service account; a client certificate cannot be called back before its end, so take its roles away",
		},
	}
	movePod = Move{
		Target: moveKubernetes.Target,
		Steps: []string{
			"run agents in pods with `automountServiceAccountToken: false`, or take from that account what it is bound to",
			"name the target above where they need the cluster",
		},
	}
	moveGoogle = Move{Steps: []string{
		"Hourkey has no target for Google Cloud yet: impersonate a service account that cannot delete, for an hour at a time",
		"run `gcloud auth revoke` and `gcloud auth application-default revoke` here, or delete the key file",
		"delete the old key in IAM: it may have been read",
	}}
	moveAzure = Move{Steps: []string{
		"Hourkey has no target for Azure yet: use a role that cannot delete, assigned for a short time",
		"run `az logout` and `az account clear` here",
		"end the user's sessions, or delete the secret, in Entra: it may have been read",
	}}
	moveVault = Move{
		Target: "vault: {address: https://HOST:8200, login: {approle: {role_id: ROLE_ID, secret_id: file:secrets/vault-secret-id}}, engine: kv, mount: MOUNT, folders: [FOLDER], token_role: ROLE, offers: [{policies: [POLICY]}]}",
		Steps: []string{
			"make a login for the broker, and a policy for each thing that agents may have (docs/issuers/vault.md has them to paste, also for databases and other engines), and name the target above",
			"delete it here; commands under `hourkey exec` get a token, or a login, that dies with the lease",
			"revoke it (`vault token revoke`; for an AppRole, destroy the secret id): it may have been read",
		},
	}
	moveGit = Move{
		Target: moveGitHub.Target,
		Steps: []string{
			"for GitHub use the target above; for other hosts a deploy key or a token of one repository, with protected branches",
			"delete it here, and set no `store` helper: `git config --global --unset credential.helper`",
			"revoke it at the host: it may have been read",
		},
	}
	moveNetrc = Move{Steps: []string{
		"see whose login it is: for Railway, GitHub, Supabase, PostgreSQL, AWS, Kubernetes and Vault Hourkey has targets",
		"delete the entry here",
		"change the password, or revoke the token, at the host: it may have been read",
	}}
	moveRegistry = Move{Steps: []string{
		"publish from a pipeline with trusted publishing (OIDC), not from where an agent works; a token that only reads is enough for installing",
		"log out here (`npm logout`, `docker logout`), or delete the entry",
		"revoke it at the registry: it may have been read",
	}}
	moveSSH = Move{Steps: []string{
		"give the key a passphrase (`ssh-keygen -p`) and confirm each use (`ssh-add -c`), or use a key in hardware",
		"for agents, use a deploy key of one repository, with protected branches",
		"where an agent could have read it: make a new key and take the old one off servers and hosts",
	}}
	moveProvider = Move{Steps: []string{
		"Hourkey has no target for this provider yet: keep the credential with the service that needs it, out of this user's reach",
		"delete it here",
		"revoke it at the provider: it may have been read",
	}}
)
