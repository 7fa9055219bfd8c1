package kubetest_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hourkey/hourkey/issuers/kubernetes/kubetest"
)

// The binaries bear the version that they are built of.
func TestVersionIsTheModules(t *testing.T) {
	module, err := os.ReadFile("../../../tools/kubernetes/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(module), "\tk8s.io/kubernetes "+kubetest.Version+" ") {
		t.Errorf("tools/kubernetes/go.mod does not require k8s.io/kubernetes %s", kubetest.Version)
	}
}

func TestServerAnswersAndIsGoneAfterStop(t *testing.T) {
	s := kubetest.Start(t)
	var version struct{ GitVersion string }
	if err := s.Do(t.Context(), s.Token(), "GET", "/version", nil, &version); err != nil || version.GitVersion != kubetest.Version {
		t.Fatalf("version %+v, %v; want %s", version, err, kubetest.Version)
	}
	var pids []int
	for _, name := range []string{"etcd.pid", "kube-apiserver.pid"} {
		pids = append(pids, kubetest.PID(t, filepath.Join(s.Dir, name)))
	}
	s.Stop()
	s.Stop()
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); err == nil {
			t.Errorf("process %d outlives Stop", pid)
		}
	}
	if _, err := os.Stat(s.Dir); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", s.Dir, err)
	}
}
