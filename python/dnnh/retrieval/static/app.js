"use strict";

const at = (id) => document.getElementById(id);
let repeatQuery = null;    // sends the last query again, when a setting changes
let queries = 0;           // numbers queries: late responses to earlier ones are dropped
let seed = 0;

function settings() {
  const parameters = new URLSearchParams({ top: at("top").value || "20" });
  if (at("radius").value !== "") parameters.set("radius", at("radius").value);
  return parameters;
}

function showStatus(text, isError = false) {
  at("status").textContent = text;
  at("status").className = isError ? "error" : "";
}

async function readResponse(response) {
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body;
  const detail = Array.isArray(body.detail) ? body.detail.map(
    (d) => `${d.loc[d.loc.length - 1]}: ${d.msg}`).join("; ")
                                            : body.detail;
  throw new Error(detail || `the server responds with status ${response.status}`);
}

function showImages(images) {
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
    button.addEventListener("click", () => searchLike(image));
    item.append(button);
    return item;
  }));
}

async function query(title, request) {
  const number = ++queries;
  showStatus("Searching …");
  try {
    const results = await readResponse(await request());
    if (number !== queries) return;
    const { encode, search } = results.milliseconds;
    showStatus(`${results.hits.length} images, encoded in ${encode.toFixed(1)} ms, `
               + `searched in ${search.toFixed(1)} ms`);
    at("title").textContent = title;
    at("code").hidden = false;
    at("code").setAttribute("aria-label", `The code's ${results.bits.length} bits: ${results.bits}`);
    at("code").replaceChildren(...[...results.bits].map((bit) => {
      const cell = document.createElement("i");
      if (bit === "1") cell.className = "one";
      return cell;
    }));
    showImages(results.hits);
  } catch (error) {
    if (number !== queries) return;
    showStatus(error.message, true);
    at("title").textContent = title;
    at("code").hidden = true;
    showImages([]);            // the hits of the query before do not belong to this one
  }
}

function showQuery(source, name) {
  at("query").src = source;
  at("query").hidden = false;
  at("invite").textContent = name;
}

function searchFile(file) {
  if (!file) return;
  showQuery(URL.createObjectURL(file), file.name);
  repeatQuery = () => query(`Most similar to ${file.name}`, () =>
    fetch(`/search?${settings()}`, { method: "POST", body: file }));
  repeatQuery();
}

function searchLike(image) {
  showQuery(`/image/${image.row}`, image.name);
  repeatQuery = () => query(`Most similar to ${image.name}`, () =>
    fetch(`/like/${image.row}?${settings()}`));
  repeatQuery();
  window.scrollTo({ top: 0 });
}

async function showRandomImages() {
  const number = ++queries;
  try {
    const images = await readResponse(await fetch(`/some?count=24&seed=${seed++}`));
    if (number !== queries) return;
    repeatQuery = null;
    at("title").textContent = "Images of the index, drawn at random";
    at("code").hidden = true;
    showStatus("");
    showImages(images);
  } catch (error) {
    showStatus(error.message, true);
  }
}

at("file").addEventListener("change", () => searchFile(at("file").files[0]));
for (const id of ["top", "radius"]) {
  at(id).addEventListener("change", () => repeatQuery && repeatQuery());
}
at("others").addEventListener("click", showRandomImages);
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
at("drop").addEventListener("drop", (event) => searchFile(event.dataTransfer.files[0]));

fetch("/health").then(readResponse).then((health) => {
  at("about").textContent = `${health.images.toLocaleString("en")} images, `
      + `codes of ${health.bits} bits`;
  at("radius").max = health.bits;
}).catch((error) => showStatus(error.message, true));
showRandomImages();
