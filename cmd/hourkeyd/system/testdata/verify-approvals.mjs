// Checks every passkey signature in an exported log, with nothing of Hourkey: what is signed is rebuilt from
// the log alone (docs/approvals.md), and the key is the one that the log names for that human.
//
//   node verify-approvals.mjs LOG.jsonl
//
// Prints one line per signature; exits 1 when one does not hold, and 2 when there is none.
import { createHash, createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";

const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest();
const fromBase64url = (text) => Buffer.from(text, "base64url");

// RFC 8785 for what has no fractions: sorted keys, no spaces, JSON's own escapes.
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  return `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(",")}}`;
}

// COSE_Key (RFC 9052 section 7): a CBOR map from small integers to integers and byte strings.
function cose(bytes) {
  let at = 0;
  const head = () => {
    const first = bytes[at++];
    let argument = first & 31;
    if (argument === 24) argument = bytes[at++];
    else if (argument === 25) { argument = bytes.readUInt16BE(at); at += 2; }
    else if (argument > 23) throw new Error("CBOR: unexpected length");
    return [first >> 5, argument];
  };
  const item = () => {
    const [major, argument] = head();
    if (major === 0) return argument;
    if (major === 1) return -1 - argument;
    if (major === 2) return bytes.subarray(at, (at += argument));
    throw new Error(`CBOR: unexpected type ${major}`);
  };
  const [major, pairs] = head();
  if (major !== 5) throw new Error("CBOR: no map");
  const map = new Map();
  for (let i = 0; i < pairs; i++) map.set(item(), item());
  return map;
}

function publicKey(bytes) {
  const key = cose(bytes);
  const field = (label) => key.get(label).toString("base64url");
  const jwk = {
    1: () => ({ kty: "OKP", crv: "Ed25519", x: field(-2) }),
    2: () => ({ kty: "EC", crv: "P-256", x: field(-2), y: field(-3) }),
    3: () => ({ kty: "RSA", n: field(-1), e: field(-2) }),
  }[key.get(1)]();
  return { key: createPublicKey({ key: jwk, format: "jwk" }), hash: jwk.kty === "OKP" ? null : "sha256" };
}

function check(approval, passkeys) {
  const { statement, assertion, nonce, reviewer, passkey } = approval;
  const must = (holds, what) => { if (!holds) throw new Error(what); };
  must(statement.reviewer === reviewer, "the statement names another reviewer");
  const holder = passkeys.get(passkey);
  must(holder, "the log does not tell of this passkey");
  must(holder.human === reviewer, "the passkey is another human's");
  must(assertion.credential_id === passkey, "the assertion is of another passkey");

  const client = Buffer.from(assertion.client_data_json, "base64");
  const said = JSON.parse(client.toString("utf8"));
  const salt = fromBase64url(nonce);
  const challenge = Buffer.concat([salt, sha256("hourkey/statement/1\0", salt, canonical(statement))]);
  must(said.type === "webauthn.get", "the assertion is no signature");
  must(said.challenge === challenge.toString("base64url"), "it signs something else");
  must(said.origin === statement.origin && said.crossOrigin !== true, "it was made on another site");

  const authenticator = Buffer.from(assertion.authenticator_data, "base64");
  must(authenticator.subarray(0, 32).equals(sha256(new URL(statement.origin).hostname)), "it was made for another site");
  must((authenticator[32] & 0b101) === 0b101, "no human was present, or verified");
  const { key, hash } = publicKey(holder.key);
  must(verify(hash, Buffer.concat([authenticator, sha256(client)]), key, Buffer.from(assertion.signature, "base64")), "the signature does not hold");
  return statement;
}

const passkeys = new Map(); // id → {human, key}
let held = 0;
let failed = 0;
for (const line of readFileSync(process.argv[2], "utf8").split("\n").filter(Boolean)) {
  const { number, event } = JSON.parse(line);
  if (!event?.data) continue;
  const { type, subject, data } = event;
  if (data.approval) {
    try {
      const s = check(data.approval, passkeys);
      console.log(`${number} ok: ${s.reviewer} signed ${s.act} ${s.subject}: ${s.says}`);
      held++;
    } catch (error) {
      console.log(`${number} WRONG: ${type} ${subject}: ${error.message}`);
      failed++;
    }
  }
  if (type === "hourkey.passkey.added") {
    const added = data.approval ? data.passkey : data;
    passkeys.set(added.passkey, { human: subject, key: Buffer.from(added.credential.public_key, "base64") });
  }
}
console.log(`${held} signatures hold, ${failed} do not`);
process.exitCode = failed ? 1 : held ? 0 : 2;
