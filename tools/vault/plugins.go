package main

import (
	"slices"

	jwtlogin "github.com/hashicorp/vault-plugin-auth-jwt"
	kuberneteslogin "github.com/hashicorp/vault-plugin-auth-kubernetes"
	kubernetessecrets "github.com/hashicorp/vault-plugin-secrets-kubernetes"
	"github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/builtin/credential/userpass"
	"github.com/hashicorp/vault/builtin/logical/aws"
	"github.com/hashicorp/vault/builtin/logical/database"
	"github.com/hashicorp/vault/builtin/logical/pki"
	"github.com/hashicorp/vault/builtin/logical/ssh"
	"github.com/hashicorp/vault/builtin/logical/transit"
	"github.com/hashicorp/vault/plugins/database/postgresql"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
)

// registry is the plugins that this server was built with: type → name → what makes one.
type registry map[consts.PluginType]map[string]any

func plugins() registry {
	return registry{
		consts.PluginTypeCredential: {
			"approle": logical.Factory(approle.Factory), "jwt": logical.Factory(jwtlogin.Factory),
			"kubernetes": logical.Factory(kuberneteslogin.Factory), "userpass": logical.Factory(userpass.Factory),
		},
		consts.PluginTypeSecrets: {
			"aws": logical.Factory(aws.Factory), "database": logical.Factory(database.Factory), "kubernetes": logical.Factory(kubernetessecrets.Factory),
			"kv": logical.Factory(kv.Factory), "pki": logical.Factory(pki.Factory), "ssh": logical.Factory(ssh.Factory), "transit": logical.Factory(transit.Factory),
		},
		consts.PluginTypeDatabase: {"postgresql-database-plugin": postgresql.New},
	}
}

// Get gives what makes the plugin.
func (r registry) Get(name string, kind consts.PluginType) (func() (any, error), bool) {
	switch plugin := r[kind][name].(type) {
	case func() (any, error):
		return plugin, true
	case logical.Factory:
		return func() (any, error) { return plugin, nil }, true
	}
	return nil, false
}

// Contains tells whether there is such a plugin.
func (r registry) Contains(name string, kind consts.PluginType) bool {
	_, known := r[kind][name]
	return known
}

// Keys lists the plugins of a type.
func (r registry) Keys(kind consts.PluginType) []string {
	var names []string
	for name := range r[kind] {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// DeprecationStatus says that none is deprecated.
func (r registry) DeprecationStatus(name string, kind consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, r.Contains(name, kind)
}

// IsBuiltinEntPlugin says that none belongs to another edition.
func (r registry) IsBuiltinEntPlugin(string, consts.PluginType) bool { return false }
