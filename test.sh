#!/usr/bin/env bash
# Checks everything, from nothing: on a Debian with Go it installs what is missing, builds the tools once,
# and runs every check, all tests and each fuzz target. Nothing may be skipped. Takes no arguments.
# Tools and logs lie in a cache folder; nothing is written into the tree, except by a fuzz target that
# found something: its input, below testdata/fuzz, is a new test case.
set -euo pipefail
cd "$(dirname "$0")"

# Under nohup, or in a background job, signals come ignored, and the tests of signals could not work.
[ -n "${HOURKEY_SIGNALS:-}" ] || exec env --default-signal HOURKEY_SIGNALS=default bash ./test.sh
unset HOURKEY_SIGNALS

fuzz_seconds=${HOURKEY_FUZZ_SECONDS:-5}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/hourkey
logs=$(mktemp -d "${TMPDIR:-/tmp}/hourkey-test.XXXXXX")
background=()
passed=() failed=()
export HOURKEY_TEST_ALL=1
export GOFLAGS="${GOFLAGS:-} -buildvcs=false" # a checkout may belong to another user than the one who tests
exec 3>&1                                     # progress, past the logs

say() { printf '%s  %s\n' "$(date +%H:%M:%S)" "$*"; }

# step NAME COMMAND… runs a command, its output in a log, and goes on after a failure: one run shows all.
step() {
	local name=$1 start=$SECONDS log
	log=$logs/${name//[^a-zA-Z0-9]/-}.log
	shift
	say "$name …"
	if "$@" >"$log" 2>&1; then
		passed+=("$name ($((SECONDS - start)) s)")
		say "$name: ok, $((SECONDS - start)) s"
	else
		failed+=("$name ($log)")
		say "$name: FAILED, $((SECONDS - start)) s; the end of $log:"
		tail -n 60 "$log" | sed 's/^/    /'
	fi
}

# --- what the machine must have

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

missing_packages() {
	compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || echo postgresql
	command -v chromium >/dev/null || echo chromium
	command -v setpriv >/dev/null || echo util-linux
	command -v curl >/dev/null || echo curl ca-certificates # clients behind the gateway
	command -v node >/dev/null || echo nodejs
	command -v openssl >/dev/null || echo openssl
	command -v python3 >/dev/null || echo python3
	command -v nginx >/dev/null || echo nginx-light # whose reading of paths ours is held against
	command -v npm >/dev/null || echo npm           # fetches axe-core
	/usr/bin/python3 -c 'import aiosmtpd' 2>/dev/null || echo python3-aiosmtpd # a mail server
	command -v etcd >/dev/null || echo etcd-server # below kube-apiserver
	command -v gcc >/dev/null || echo gcc libc6-dev # for the race detector, and dex
}

install_packages() {
	local packages
	packages=$(missing_packages)
	[ -n "$packages" ] || return 0
	echo "installing:" $packages >&3
	as_root apt-get update -qq || return 1
	# shellcheck disable=SC2086 # a list of words
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages
}

# --- the linter, from its own module, once per version

linter_version() { sed -n 's#.*github.com/golangci/golangci-lint/v2 \(v[0-9.]*\).*#\1#p' tools/go.mod | head -n 1; }

linter() { echo "$cache/bin/golangci-lint-$(linter_version)-$(go env GOVERSION)"; }

build_linter() {
	local binary
	binary=$(linter) # before cd: it reads tools/go.mod
	[ -x "$binary" ] && return 0
	mkdir -p "$cache/bin"
	(cd tools && go build -o "$binary.$$" github.com/golangci/golangci-lint/v2/cmd/golangci-lint) || return 1
	mv "$binary.$$" "$binary"
}

# --- what the tests ask, once per version

# axe-core judges the pages. What comes is compared with the SHA-256 that tools/axe pins.
fetch_axe() {
	local version sum folder
	read -r version sum <tools/axe/VERSION
	[ -f "$cache/axe-core-$version/axe.min.js" ] && return 0
	folder=$(mktemp -d) || return 1
	(cd "$folder" && npm pack --silent "axe-core@$version" && echo "$sum  axe-core-$version.tgz" | sha256sum -c - && tar xzf "axe-core-$version.tgz") || return 1
	mkdir -p "$cache/axe-core-$version"
	mv "$folder/package/axe.min.js" "$cache/axe-core-$version/" && rm -rf "$folder"
}

# build_server FOLDER NAME MODULE PACKAGE builds a program from the module in tools/FOLDER, as NAME-VERSION, where the
# version is that of MODULE. Kubernetes has to be told its own.
build_server() {
	local version binary started=$SECONDS
	version=$(sed -nE "s#^[[:space:]]*(require )?$3 (v[^ ]+).*#\2#p" "tools/$1/go.mod" | head -n 1)
	[ -n "$version" ] || { echo "tools/$1/go.mod does not name $3"; return 1; }
	binary=$cache/bin/$2-$version # before cd
	[ -x "$binary" ] && return 0
	say "  building $2, once" >&3
	mkdir -p "$cache/bin"
	(cd "tools/$1" && go build -trimpath -ldflags="-s -X k8s.io/component-base/version.gitVersion=$version" -o "$binary.$$" "$4") || return 1
	mv "$binary.$$" "$binary"
	say "  $2: $((SECONDS - started)) s" >&3
}

servers() {
	fetch_axe &&
		build_server dex dex github.com/dexidp/dex github.com/dexidp/dex/cmd/dex &&
		build_server minio minio github.com/minio/minio github.com/minio/minio &&
		build_server minio mc github.com/minio/mc github.com/minio/mc &&
		build_server tofu tofu github.com/opentofu/opentofu github.com/opentofu/opentofu/cmd/tofu &&
		build_server kubernetes kube-apiserver k8s.io/kubernetes k8s.io/kubernetes/cmd/kube-apiserver &&
		build_server kubernetes kubectl k8s.io/kubernetes k8s.io/kubernetes/cmd/kubectl &&
		build_server vault vault github.com/hashicorp/vault .
}

lint() {
	wait "$linter_build" && "$(linter)" run ./...
}

# --- checks

check_format() {
	local wrong
	wrong=$(gofmt -l .) || return 1
	[ -z "$wrong" ] || { echo "not formatted, run gofmt -w on:"; echo "$wrong"; return 1; }
}

# Tidy, and every direct dependency has its reason written down.
check_dependencies() {
	local module status=0
	go mod tidy -diff || { echo "go.mod is not tidy: run go mod tidy"; status=1; }
	for module in $(sed -nE '/indirect|^module|^go |^toolchain/d; s#^(require )?[[:space:]]*([a-z0-9.-]+\.[a-z]+/[^ ]+) v.*#\2#p' go.mod); do
		grep -qF "| $module |" docs/dependencies.md || { echo "docs/dependencies.md has no line for $module"; status=1; }
	done
	return "$status"
}

vet() { go vet ./... && go vet -tags failpoint ./...; }

static_build() {
	CGO_ENABLED=0 go build -trimpath -o "$logs/bin/" ./cmd/hourkey ./cmd/hourkeyd || return 1
	local binary
	for binary in "$logs"/bin/*; do
		if ldd "$binary" 2>/dev/null | grep -q '=>'; then echo "$binary is not static"; return 1; fi
	done
}

# go_test LOG ARGUMENTS… runs go test -v, shows a line per package and per test that failed, and fails over a test that
# was skipped.
go_test() {
	local log=$logs/$1 status skipped
	shift
	go test -v -count=1 -timeout 40m "$@" 2>&1 | tee "$log" | grep --line-buffered -E '^(ok|FAIL)[[:space:]]|^ *--- FAIL' | sed -u 's/^/          /' >&3
	status=${PIPESTATUS[0]}
	if [ "$status" != 0 ]; then
		echo "what failed, with the lines before it; the whole output is in $log:"
		grep -E -B 25 '^ *--- FAIL|^panic:|^fatal error:|^FAIL.*(build|setup) failed' "$log" | tail -n 120
	fi
	skipped=$(grep -E '^ *--- SKIP' "$log" || true)
	if [ -n "$skipped" ]; then
		echo "skipped, and nothing may be here:"
		echo "$skipped"
		status=1
	fi
	return "$status"
}

all_tests() { go_test all-tests.out ./...; }

# Where goroutines meet: the pipeline, the stores, HTTP. Not again what waits for browsers and databases.
race_tests() {
	local packages
	packages=$(go list ./broker/... ./policies/... ./store/... ./issuers ./issuers/jwt/... ./issuers/vault/session ./issuers/gateway/judge ./issuers/gateway/proxy ./web ./web/api/... ./web/authn/... ./web/notify ./cmd/hourkey/forward ./examples/...) || return 1
	# shellcheck disable=SC2086 # a list of words
	HOURKEY_TEST_ALL='' go test -race -short -count=1 -timeout 30m -skip '^TestInChromium' $packages
}

# The crash tests are those that only the build tag brings: listed with it, and not without.
crash_tests() {
	local files packages package names
	files=$(grep -rlE --include='*_test.go' '^//go:build .*failpoint' . || true)
	[ -n "$files" ] || { echo "no test file has the build tag failpoint"; return 1; }
	packages=$(xargs -n 1 dirname <<<"$files" | sort -u)
	for package in $packages; do
		names=$(comm -13 <(list_tests "$package" | sort) <(list_tests "$package" -tags failpoint | sort) | paste -sd '|')
		[ -n "$names" ] || { echo "$package has no test of its own for failpoint"; return 1; }
		go_test "crash-${package//[.\/]/-}.out" -tags failpoint -run "^($names)\$" "$package" || return 1
	done
}

list_tests() { local package=$1; shift; go test "$@" -list '^Test' "$package" | grep '^Test' || true; }

# fuzz_targets prints "PACKAGE TARGET" for each; a package's targets come before its line of ok.
fuzz_targets() {
	go test -list '^Fuzz' ./... | awk '/^Fuzz/ { names[++n] = $1 } /^ok/ { for (i = 1; i <= n; i++) print $2, names[i]; n = 0 }'
}

# At the end of -fuzztime Go 1.26 now and then reports a bare "context deadline exceeded", and no input
# (golang/go issue 75804, mended in 1.27). That one is tried once more; a failing input never is.
fuzz_one() {
	local out
	out=$(go test -run '^$' -fuzz "^$2\$" -fuzztime "${fuzz_seconds}s" -fuzzminimizetime 1x "$1" 2>&1) && { echo "$out"; return 0; }
	echo "$out"
	grep -q 'Failing input written' <<<"$out" && return 1
	grep -q 'context deadline exceeded' <<<"$out" || return 1
	go test -run '^$' -fuzz "^$2\$" -fuzztime "${fuzz_seconds}s" -fuzzminimizetime 1x "$1"
}

fuzz_all() {
	local package target
	fuzz_targets >"$logs/fuzz-targets.out" || return 1
	[ -s "$logs/fuzz-targets.out" ] || { say "no fuzz target was found"; failed+=("fuzz targets: none found"); return 0; }
	while read -r package target; do
		step "fuzz ${package#github.com/hourkey/hourkey/} $target" fuzz_one "$package" "$target" </dev/null
	done <"$logs/fuzz-targets.out"
}

# --- the run

finish() {
	for job in "${background[@]}"; do kill "$job" 2>/dev/null || true; done
	if [ ${#failed[@]} = 0 ] && [ "${complete:-}" = yes ]; then rm -rf "$logs"; fi
}
trap finish EXIT

step "packages" install_packages
step "modules" go mod download
build_linter >"$logs/linter.log" 2>&1 &
linter_build=$!
background+=("$linter_build")
step "format" check_format
step "dependencies" check_dependencies
step "vet" vet
step "static build" static_build
step "lint" lint
step "servers" servers
step "tests" all_tests
step "tests with the race detector" race_tests
step "crash tests" crash_tests
fuzz_all || failed+=("fuzz targets: they do not compile")
complete=yes

echo
echo "passed, in $((SECONDS / 60)) min $((SECONDS % 60)) s:"
printf '  %s\n' "${passed[@]}"
if [ ${#failed[@]} -gt 0 ]; then
	echo "FAILED:"
	printf '  %s\n' "${failed[@]}"
	exit 1
fi
echo "Everything passed; nothing was skipped."
