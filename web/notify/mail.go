package notify

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"strings"
	"time"
)

// mail writes the message for one human (RFC 5322). Every header is made of our own words, of addresses that
// were checked, and of names; a title is encoded, and cannot end its line (the attack: CR LF in a name).
func (s *smtpSender) mail(d *delivery, to hearer) []byte {
	var out bytes.Buffer
	_, domain, _ := strings.Cut(s.channel.From, "@")
	for _, header := range [][2]string{
		{"From", "Hourkey <" + s.channel.From + ">"},
		{"To", "<" + s.channel.To[to.human] + ">"},
		{"Subject", mime.QEncoding.Encode("utf-8", "[Hourkey] "+d.title)},
		{"Date", s.now().Format(time.RFC1123Z)},
		{"Message-ID", fmt.Sprintf("<%s.%s@%s>", s.id(d), hex.EncodeToString([]byte(to.human)), domain)}, // the same at every try
		{"Auto-Submitted", "auto-generated"},                                                             // RFC 3834: no out-of-office answers
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
	} {
		out.WriteString(header[0] + ": " + header[1] + "\r\n")
	}
	out.WriteString("\r\n")
	body := quotedprintable.NewWriter(&out)
	_, err := body.Write([]byte(strings.Join([]string{
		d.text, to.why, s.link(d),
		"Nothing is decided by mail, and this link gives nobody a right. Before you sign anything, see that the address begins with " + s.origin + "/", "",
	}, "\r\n\r\n")))
	if err != nil || body.Close() != nil {
		return nil // a buffer takes everything
	}
	return out.Bytes()
}
