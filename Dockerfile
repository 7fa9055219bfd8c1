# Both binaries, static, on nothing else. It runs with a read-only root and two writable volumes:
#
#   docker run --read-only --cap-drop=ALL --security-opt=no-new-privileges -p 8750:8750 \
#     -v ./config:/etc/hourkey:ro -v hourkey-data:/var/lib/hourkey -v hourkey-keys:/var/lib/hourkey-keys hourkey
#
# Two, because the key that opens the store and the anchor that notices an old store must not lie with it
# (invariant 7): whoever copies or rolls back the data volume must not have the other one as well.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ENV CGO_ENABLED=0
RUN go build -trimpath -buildvcs=false -ldflags="-s -w" -o /out/ ./cmd/hourkeyd ./cmd/hourkey
# What scratch lacks: a user, certificates, and folders that fresh volumes take their owner from.
RUN mkdir -m 0700 /out/data /out/keys && echo 'hourkey:x:65532:65532:hourkey:/var/lib/hourkey:/sbin/nologin' > /out/passwd

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/passwd /etc/passwd
COPY --from=build /out/hourkeyd /out/hourkey /usr/local/bin/
COPY --from=build --chown=65532:65532 /out/data /var/lib/hourkey
COPY --from=build --chown=65532:65532 /out/keys /var/lib/hourkey-keys
ENV HOURKEY_DATA=/var/lib/hourkey HOURKEY_KEYS=/var/lib/hourkey-keys/kek HOURKEY_ANCHOR=/var/lib/hourkey-keys/anchor
USER 65532:65532
WORKDIR /var/lib/hourkey
VOLUME ["/var/lib/hourkey", "/var/lib/hourkey-keys"]
ENTRYPOINT ["/usr/local/bin/hourkeyd"]
CMD ["serve", "--config", "/etc/hourkey/hourkey.yaml"]
