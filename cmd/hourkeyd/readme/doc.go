// Package readme holds no code: its tests do what README.md tells a newcomer to do, as it stands there.
//
// They own: a home of their own, a PostgreSQL, a terminal with one long-lived bash, and a Chromium with
// an authenticator in it. What a human reads in the terminal or on the page, the tests read there.
//
// They do not know: any of our packages but the one that starts a PostgreSQL. The programs are built by
// the README's own commands. README.md names port 8750: run by root the tests have a network of their own (a
// Linux namespace), run by anybody else they need that port free.
//
// HOURKEY_SHOTS=DIR leaves a picture of every page, as a phone shows it.
package readme
