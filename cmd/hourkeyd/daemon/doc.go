// Package daemon wires the broker: it turns a configuration into policy and targets, opens store, keys
// and log, serves HTTP and the admin socket, reloads, signs checkpoints and keeps the anchor.
//
// It owns: the order in which all of this begins and ends, and the files of the data folder.
//
// It does not know: how anything is decided, issued or shown.
//
// It trusts: the configuration that package config has read and checked.
package daemon
