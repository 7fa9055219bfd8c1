package main

import (
	"strings"
	"testing"
)

func TestInstallSaysWhatIsOtherAndWhatComesNext(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	writeInstalled(&out, []applied{{"folder /etc/hourkey", true, false}, {"file a", false, false}, {"file /etc/systemd/system/hourkeyd.service", false, true}})
	first, next, _ := strings.Cut(out.String(), "\nNext")
	if want := "done     folder /etc/hourkey\nwas so   file a\ndiffers  file /etc/systemd/system/hourkeyd.service\n         is another than what this version writes, and stays."; !strings.HasPrefix(first, want) {
		t.Errorf("got %s", first)
	}
	_, check, _ := strings.Cut(next, "--reuid hourkey --regid hourkey --init-groups /usr/local/bin/hourkeyd check --live --config /etc/hourkey/hourkey.yaml")
	if !strings.Contains(check, "systemctl start hourkeyd") || !strings.Contains(check, "human invite") {
		t.Errorf("no check before the start: %s", next)
	}
}
