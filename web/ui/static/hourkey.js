// The one script: it carries a passkey's question from the broker to the browser and the answer back.
// Everything else works without it. It decides nothing: the broker checks every answer.
"use strict";

const decode = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const encode = (buffer) =>
  btoa(Array.from(new Uint8Array(buffer), (b) => String.fromCharCode(b)).join(""))
    .replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const withIDs = (list) => (list || []).map((entry) => ({ ...entry, id: decode(entry.id) }));

async function post(path, body) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    credentials: "same-origin",
    redirect: "error",
  });
  const answer = await response.json();
  if (!response.ok) {
    throw new Error(answer.next ? `${answer.detail}. Next: ${answer.next}.` : answer.detail || answer.title);
  }
  return answer;
}

async function assert(options) {
  const credential = await navigator.credentials.get({
    publicKey: { ...options, challenge: decode(options.challenge), allowCredentials: withIDs(options.allowCredentials) },
  });
  const response = credential.response;
  return {
    credential_id: encode(credential.rawId),
    client_data_json: encode(response.clientDataJSON),
    authenticator_data: encode(response.authenticatorData),
    signature: encode(response.signature),
    user_handle: response.userHandle ? encode(response.userHandle) : "",
  };
}

const ceremonies = {
  async register(form) {
    const options = JSON.parse(form.dataset.options);
    const credential = await navigator.credentials.create({
      publicKey: {
        ...options,
        challenge: decode(options.challenge),
        user: { ...options.user, id: decode(options.user.id) },
        excludeCredentials: withIDs(options.excludeCredentials),
      },
    });
    const response = credential.response;
    const answer = await post("/invite/passkey", {
      credential_id: encode(credential.rawId),
      client_data_json: encode(response.clientDataJSON),
      attestation_object: encode(response.attestationObject),
      transports: response.getTransports ? response.getTransports() : [],
    });
    location.assign(answer.next);
  },

  async "sign-in"() {
    const { options } = await post("/sign-in/prepare", {});
    await post("/sign-in", await assert(options));
    // The page that was asked for, now with a session. The sign-in page itself leads to the inbox.
    location.assign(location.pathname === "/sign-in" ? "/" : location.pathname);
  },

  // First the statement is shown, word for word as it will be signed; the second tap signs it.
  async sign(form) {
    const { act, subject, digest } = form.dataset;
    const prepared = await post("/sign/prepare", { act, subject, digest });
    const statement = form.querySelector("[data-statement]");
    form.querySelector("[data-says]").textContent = prepared.says;
    form.querySelector("[data-canonical]").textContent = prepared.statement;
    form.querySelector("[type=submit]").hidden = true;
    statement.hidden = false;
    statement.focus();
    form.querySelector("[data-confirm]").onclick = () =>
      attempt(form, async () => {
        const assertion = await assert(prepared.options);
        const answer = await post("/sign", { nonce: prepared.nonce, assertion });
        location.assign(answer.next || location.pathname);
      });
  },
};

// attempt runs one step with its buttons off, and says in words what went wrong.
async function attempt(form, step) {
  const problem = form.querySelector("[data-problem]");
  const buttons = form.querySelectorAll("button");
  problem.hidden = true;
  buttons.forEach((button) => { button.disabled = true; });
  try {
    await step();
  } catch (error) {
    problem.textContent =
      error.name === "NotAllowedError" ? "The passkey was not used: cancelled, timed out, or none here fits. Nothing was signed."
      : error.name === "InvalidStateError" ? "This device already has a passkey of yours here."
      : error.name === "TypeError" ? "The broker could not be reached. Nothing was signed."
      : error.message;
    problem.hidden = false;
    problem.scrollIntoView({ block: "center" });
  } finally {
    buttons.forEach((button) => { button.disabled = false; });
  }
}

for (const form of document.querySelectorAll("form[data-ceremony]")) {
  if (!window.PublicKeyCredential || !navigator.credentials) {
    form.querySelector("[data-no-passkey]").hidden = false;
    form.querySelector("[type=submit]").hidden = true;
    continue;
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(form, () => ceremonies[form.dataset.ceremony](form));
  });
}
