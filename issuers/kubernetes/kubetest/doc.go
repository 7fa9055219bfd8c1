// Package kubetest starts a real Kubernetes API server for a test: kube-apiserver with RBAC and with all of its
// admission, on etcd, both on free loopback ports, in a temporary folder.
//
// It owns the two processes it started and stops them by their process ids; it touches no other. It is
// imported by tests only. It needs the binaries that tools/kubernetes builds, and etcd
// (Debian: apt-get install etcd-server).
//
// It is an API server and nothing else. There are no nodes, so no pod runs; there are no controllers, so a
// Deployment makes no pods and nothing collects garbage: an object whose owner is missing stays. A test that wants to
// know what a controller would do has to do it itself.
package kubetest
