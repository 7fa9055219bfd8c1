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
    const error = new Error(answer.next ? `${answer.detail}. Next: ${answer.next}.` : answer.detail || answer.title);
    error.changed = response.status === 409;
    throw error;
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
    const made = {
      credential_id: encode(credential.rawId),
      client_data_json: encode(response.clientDataJSON),
      attestation_object: encode(response.attestationObject),
      transports: response.getTransports ? response.getTransports() : [],
    };
    if (form.elements.name) made.name = form.elements.name.value.trim();
    const answer = await post(form.dataset.to || "/invite/passkey", made);
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
    const prepared = await post("/sign/prepare", intentOf(form));
    const statement = form.querySelector("[data-statement]");
    const confirm = form.querySelector("[data-confirm]");
    form.querySelector("[data-says]").textContent = prepared.says;
    form.querySelector("[data-canonical]").textContent = prepared.statement;
    confirm.replaceChildren("Sign with passkey", ...(prepared.worst ? [": ", ...actionWords(prepared.worst)] : []));
    statement.querySelector("[data-problem]").hidden = true;
    statement.showModal();
    form.querySelector("[data-back]").onclick = () => statement.close();
    confirm.onclick = () =>
      attempt(form, statement, async () => {
        const assertion = await assert(prepared.options);
        try {
          const answer = await post("/sign", { nonce: prepared.nonce, subject: form.dataset.subject, assertion });
          location.assign(answer.next || location.pathname);
        } catch (error) {
          statement.close(); // the broker has thrown this statement away: nothing in it can be signed any more
          tell(form, error);
        }
      });
  },
};

// tell says in words what went wrong, where it is seen.
function tell(place, error) {
  const problems = place.querySelectorAll("[data-problem]");
  const problem = problems[problems.length - 1]; // that of the place itself stands after those within it
  problem.textContent =
    error.name === "NotAllowedError" ? "The passkey was not used: cancelled, timed out, or none here fits. Nothing was signed."
    : error.name === "InvalidStateError" ? "This device already has a passkey of yours here."
    : error.name === "TypeError" ? "The broker could not be reached. Nothing was signed."
    : error.message;
  if (error.changed) {
    const again = document.createElement("a");
    again.href = location.pathname;
    again.textContent = "Load the page again";
    problem.append(" ", again);
  }
  if (place.hidden) place.before(problem); // the page took the form away, for it is old; why, is still said
  problem.hidden = false;
  problem.scrollIntoView({ block: "center" });
}

// attempt runs one step with the form's buttons off.
async function attempt(form, place, step) {
  const buttons = form.querySelectorAll("button");
  place.querySelectorAll("[data-problem]").forEach((problem) => { problem.hidden = true; });
  buttons.forEach((button) => { button.disabled = true; });
  try {
    await step();
  } catch (error) {
    tell(place, error);
  } finally {
    buttons.forEach((button) => { button.disabled = false; });
  }
}

/* Narrowing: what a reviewer leaves of a request. The page only says what is ticked; the broker describes
   anew what that would be, and its sentence is what is shown and signed. */

// narrowing gives what is left of the items that were made smaller; null when all is as it was asked.
function narrowing(form) {
  const items = [];
  for (const item of form.querySelectorAll("[data-item]")) {
    const whole = item.querySelector("[data-whole]");
    const allowed = !whole || whole.checked;
    const scopes = [];
    let less = false;
    for (const row of item.querySelectorAll("[data-scope]")) {
      const boxes = [...row.querySelectorAll("[data-allow]")];
      const kept = boxes.filter((box) => allowed && box.checked).map((box) => box.dataset.allow);
      less = less || kept.length < boxes.length;
      if (kept.length > 0) scopes.push(`${row.dataset.scope}:${kept.join(",")}`);
    }
    if (less) items.push({ environment: item.dataset.environment, target: item.dataset.target, scopes });
  }
  const ttl = form.querySelector("[data-ttl]");
  const seconds = ttl ? Number(ttl.value) : 0;
  return items.length > 0 || seconds > 0 ? { items, ttl_seconds: seconds } : null;
}

// intentOf is what the page asks the broker to prepare for signing.
function intentOf(form) {
  const { act, subject, digest } = form.dataset;
  const intent = { act, subject, digest };
  const narrow = narrowing(form);
  const typed = [...form.querySelectorAll("[data-typed]")].map((field) => field.value.trim()).filter((name) => name !== "");
  if (narrow) intent.narrow = narrow;
  if (typed.length > 0) intent.typed = typed;
  return intent;
}

// actionWords marks the words for what destroys or gives power, as the templates do.
function actionWords(names) {
  return names.flatMap((name, i) => {
    const word = document.createElement("strong");
    word.textContent = name;
    if (name === "delete" || name === "admin") word.className = "danger";
    return i > 0 ? [" and ", word] : [word];
  });
}

// spread carries a box for all resources, or for a whole item, to what stands below it.
function spread(box) {
  const item = box.closest("[data-item]");
  if (box.dataset.all) {
    item.querySelectorAll(`[data-allow="${box.dataset.all}"]`).forEach((one) => { one.checked = box.checked; });
  } else if ("whole" in box.dataset) {
    item.querySelector("fieldset").disabled = !box.checked;
  }
}

// askNames shows the fields for the environments in which something would still be deleted.
function askNames(form) {
  const places = new Set();
  for (const box of form.querySelectorAll("[data-deletes-in]")) {
    if (box.checked && !box.matches(":disabled")) box.dataset.deletesIn.split(" ").forEach((place) => places.add(place));
  }
  for (const label of form.querySelectorAll("[data-typed-in]")) label.hidden = !places.has(label.dataset.typedIn);
}

// narrows offers to leave things out, and shows what would remain, in the broker's own sentence.
function narrows(form) {
  const controls = form.querySelector("[data-narrow]");
  const remains = form.querySelector("[data-remains]");
  const says = form.querySelector("[data-remains-says]");
  const worst = form.querySelector("[data-worst]");
  const asAsked = [...worst.childNodes];
  let latest = 0;
  let waiting;
  const follow = async () => {
    const turn = ++latest;
    if (!narrowing(form)) {
      remains.hidden = true;
      worst.replaceChildren(...asAsked);
      return;
    }
    const show = (text, names) => {
      if (turn !== latest) return; // something else was ticked meanwhile
      says.textContent = text;
      worst.replaceChildren(...actionWords(names));
      remains.hidden = false;
    };
    try {
      const prepared = await post("/sign/prepare", { ...intentOf(form), preview: true });
      show(prepared.says, prepared.worst || []);
    } catch (error) {
      show(error.message, []);
    }
  };
  controls.hidden = false;
  form.addEventListener("input", (event) => {
    if (event.target.closest("[data-item]")) spread(event.target);
    form.querySelectorAll("[data-problem]").forEach((problem) => { problem.hidden = true; });
    askNames(form);
    clearTimeout(waiting);
    waiting = setTimeout(follow, 400);
  });
}

for (const form of document.querySelectorAll("form[data-ceremony]")) {
  if (!window.PublicKeyCredential || !navigator.credentials) {
    form.querySelector("[data-no-passkey]").hidden = false;
    form.querySelector("[type=submit]").hidden = true;
    continue;
  }
  if (form.querySelector("[data-narrow]")) narrows(form);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(form, form, () => ceremonies[form.dataset.ceremony](form));
  });
}
