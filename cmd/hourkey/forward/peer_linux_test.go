package forward

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

func TestKernelsTableIsRead(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1001        0 2 1 0 20 4 30 10 -1
   2: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1002        0 3 1 0 20 4 30 10 -1
   3: 0000000000000000FFFF00000100007F:C351 0000000000000000FFFF00000100007F:1F90 01 00000000:00000000 00:00000000 00000000  1003 0 4
   5: 0100007F:C353 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  many 0 6
   6: nonsense
   7: 0100007F:C354 0100007F:1F90 01 0 0
   8: 0200007F:C350 0200007F:1F90 01 00000000:00000000 00:00000000 00000000  1008 0 8
`
	for peer, want := range map[string]int{"127.0.0.1:50000": 1001, "127.0.0.1:50001": 1003, "127.0.0.1:50003": -1, "127.0.0.1:50004": -1, "127.0.0.2:50000": -1, "127.0.0.1:8080": -1} {
		uid, found := findSocket(table, netip.MustParseAddrPort(peer), netip.MustParseAddrPort("127.0.0.1:8080"))
		if found != (want >= 0) || found && uid != want {
			t.Errorf("%s: uid %d, found %v, want %d", peer, uid, found, want)
		}
	}
}

// The real kernel: our own socket is ours, from IPv4 and from an IPv6 socket that carries it.
func TestOwnSocketIsFoundInTheKernelsTable(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	peer, ours := conn.LocalAddr().(*net.TCPAddr).AddrPort(), conn.RemoteAddr().(*net.TCPAddr).AddrPort()
	if uid, found := peerUID(plain(peer), plain(ours)); !found || uid != os.Geteuid() {
		t.Errorf("uid %d, found %v", uid, found)
	}
	if _, found := peerUID(plain(peer), netip.MustParseAddrPort("127.0.0.1:1")); found {
		t.Error("a socket that does not exist has an owner")
	}
}

// The real thing: a process of another user knows the address, and is hung up on. Only root can be two
// users; whoever runs this as another is told by the kernel's table in the tests above.
func TestProcessOfAnotherUserIsHungUpOn(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("not root: no second user to try it with")
		return
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := make(chan string, 1)
	own := &ownListener{Listener: listener, uid: os.Geteuid(), uidOf: peerUID, refused: func(why string) { refused <- why }}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if conn, err := own.Accept(); err == nil {
			t.Error("another user's connection was accepted")
			_ = conn.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	command := exec.Command("bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/"+port+" && cat <&3")
	command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	command.Dir = "/"
	if text, err := command.CombinedOutput(); err != nil || len(text) > 0 {
		t.Logf("it got %q, %v", text, err) // an end, or a reset
	}
	if why := <-refused; why != "of another user (uid 65534)" {
		t.Error(why)
	}
	_ = listener.Close()
	<-done
}
