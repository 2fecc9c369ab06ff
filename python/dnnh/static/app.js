"use strict";

const at = (id) => document.getElementById(id);
let last = null;           // asks the last question again, when a setting changes
let asked = 0;             // numbers questions: late answers to earlier ones are dropped
let seed = 0;

function settings() {
  const query = new URLSearchParams({ top: at("top").value || "20" });
  if (at("radius").value !== "") query.set("radius", at("radius").value);
  return query;
}

function say(text, wrong = false) {
  at("status").textContent = text;
  at("status").className = wrong ? "wrong" : "";
}

async function answered(response) {
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body;
  const detail = Array.isArray(body.detail) ? body.detail.map(
    (d) => `${d.loc[d.loc.length - 1]}: ${d.msg}`).join("; ")
                                            : body.detail;
  throw new Error(detail || `the server answers ${response.status}`);
}

function show(images) {
  at("hits").replaceChildren(...images.map((image) => {
    const item = document.createElement("li");
    const button = document.createElement("button");
    const picture = document.createElement("img");
    picture.src = `/image/${image.row}`;
    picture.alt = "";
    picture.addEventListener("error", () => { picture.alt = "no longer there"; });
    picture.loading = "lazy";
    const labels = image.labels.length ? ` (${image.labels.join(", ")})` : "";
    button.append(picture);
    if (image.distance !== undefined) {
      const distance = document.createElement("span");
      distance.className = "distance";
      distance.textContent = `distance ${image.distance}`;
      button.append(distance);
    }
    const name = document.createElement("span");
    name.textContent = image.name + labels;
    button.append(name);
    button.addEventListener("click", () => like(image));
    item.append(button);
    return item;
  }));
}

async function ask(what, request) {
  const number = ++asked;
  say("Searching …");
  try {
    const found = await answered(await request());
    if (number !== asked) return;
    const { code, search } = found.milliseconds;
    say(`${found.hits.length} images, coded in ${code.toFixed(1)} ms, `
        + `found in ${search.toFixed(1)} ms`);
    at("title").textContent = what;
    at("code").hidden = false;
    at("code").setAttribute("aria-label", `The code's ${found.bits.length} bits: ${found.bits}`);
    at("code").replaceChildren(...[...found.bits].map((bit) => {
      const cell = document.createElement("i");
      if (bit === "1") cell.className = "one";
      return cell;
    }));
    show(found.hits);
  } catch (error) {
    if (number !== asked) return;
    say(error.message, true);
    at("title").textContent = what;
    at("code").hidden = true;
    show([]);                  // those of the question before are no answer to this one
  }
}

function picture(source) {
  at("shown").src = source;
  at("shown").hidden = false;
}

function send(file) {
  if (!file) return;
  picture(URL.createObjectURL(file));
  at("invite").textContent = file.name;
  last = () => ask(`Most like ${file.name}`, () =>
    fetch(`/search?${settings()}`, { method: "POST", body: file }));
  last();
}

function like(image) {
  picture(`/image/${image.row}`);
  at("invite").textContent = image.name;
  last = () => ask(`Most like ${image.name}`, () => fetch(`/like/${image.row}?${settings()}`));
  last();
  window.scrollTo({ top: 0 });
}

async function some() {
  const number = ++asked;
  try {
    const images = await answered(await fetch(`/some?count=24&seed=${seed++}`));
    if (number !== asked) return;
    last = null;
    at("title").textContent = "Some images of the collection";
    at("code").hidden = true;
    say("");
    show(images);
  } catch (error) {
    say(error.message, true);
  }
}

at("file").addEventListener("change", () => send(at("file").files[0]));
for (const id of ["top", "radius"]) at(id).addEventListener("change", () => last && last());
at("others").addEventListener("click", some);
for (const kind of ["dragenter", "dragover"]) {
  at("drop").addEventListener(kind, (event) => {
    event.preventDefault();
    at("drop").classList.add("over");
  });
}
for (const kind of ["dragleave", "drop"]) {
  at("drop").addEventListener(kind, (event) => {
    event.preventDefault();
    at("drop").classList.remove("over");
  });
}
at("drop").addEventListener("drop", (event) => send(event.dataTransfer.files[0]));

fetch("/health").then(answered).then((health) => {
  at("about").textContent = `${health.images.toLocaleString("en")} images, `
      + `codes of ${health.bits} bits`;
  at("radius").max = health.bits;
}).catch((error) => say(error.message, true));
some();
