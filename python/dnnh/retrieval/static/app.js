"use strict";

const STEP = 20;           // "More" asks for so many more hits

const at = (id) => document.getElementById(id);
let repeatQuery = null;    // sends the last query again, when a setting changes
let queries = 0;           // numbers queries: late responses to earlier ones are dropped
let shownRows = [];        // rows of the images on the page
let seed = 0;
let indexed = Infinity;    // number of images in the index

/** The parameters of a query: for all hits, or for those beyond the ones on the page. */
function settings(more = false) {
  const parameters = new URLSearchParams({ top: at("top").value || "20" });
  if (more) {
    parameters.set("offset", shownRows.length);
    parameters.set("top", Math.min(STEP, limit() - shownRows.length));
  }
  if (at("radius").value !== "") parameters.set("radius", at("radius").value);
  return parameters;
}

/** The most hits that a query can return. */
function limit() {
  return Math.min(Number(at("top").max), indexed);
}

function showStatus(text, isError = false) {
  at("status").textContent = text;
  at("status").className = isError ? "error" : "";
}

function milliseconds(value) {
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ms`;
}

async function readResponse(response) {
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body;
  const detail = Array.isArray(body.detail) ? body.detail.map(
    (d) => `${d.loc[d.loc.length - 1]}: ${d.msg}`).join("; ")
                                            : body.detail;
  throw new Error(detail || `the server responds with status ${response.status}`);
}

function textLine(className, text) {
  const line = document.createElement("span");
  line.className = className;
  line.textContent = text;
  return line;
}

function imageItem(image) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  const picture = document.createElement("img");
  const labels = image.labels.join(", ");
  button.type = "button";
  picture.src = `/image/${image.row}`;
  picture.alt = labels || image.name;
  picture.addEventListener("error", () => { picture.alt = "no longer there"; });
  picture.loading = "lazy";
  const lines = [];
  if (image.distance !== undefined) lines.push(textLine("distance", `distance ${image.distance}`));
  if (labels) lines.push(textLine("labels", labels));
  lines.push(textLine("name", image.name));
  button.append(picture, ...lines);
  // Without the picture's alternative text, which repeats the labels.
  button.setAttribute("aria-label", lines.map((line) => line.textContent).join(", "));
  button.addEventListener("click", () => searchLike(image));
  item.append(button);
  return item;
}

function showImages(images) {
  shownRows = images.map((image) => image.row);
  at("hits").replaceChildren(...images.map(imageItem));
}

/** Add further hits behind those on the page; the first of them gets the focus. */
function addImages(images) {
  const count = shownRows.length;
  at("hits").append(...images.map(imageItem));
  shownRows.push(...images.map((image) => image.row));
  at("top").value = shownRows.length;
  at("hits").children[count]?.firstChild.focus();
}

function showCode(bits) {
  at("code").hidden = false;
  at("code").setAttribute("aria-label", `The code's ${bits.length} bits: ${bits}`);
  at("code").replaceChildren(...[...bits].map((bit) => {
    const cell = document.createElement("i");
    if (bit === "1") cell.className = "one";
    return cell;
  }));
}

/** Send a query and show its hits, or those beyond the ones on the page. */
async function query(title, request, more = false) {
  const number = ++queries;
  const wanted = Number(settings(more).get("top"));
  showStatus("Searching …");
  try {
    const results = await readResponse(await request());
    if (number !== queries) return;
    const { encode, search } = results.milliseconds;
    const count = results.offset + results.hits.length;
    const encoded = encode > 0 ? `Encoded in ${milliseconds(encode)}, searched` : "Searched";
    showStatus(`${count} ${count === 1 ? "hit" : "hits"}. ${encoded} in ${milliseconds(search)}.`);
    at("title").textContent = title;
    showCode(results.bits);
    if (more) {
      addImages(results.hits);
    } else {
      showImages(results.hits);
    }
    at("more").hidden = results.hits.length < wanted || count >= limit();
  } catch (error) {
    if (number !== queries) return;
    showStatus(error.message, true);
    if (more) return;
    at("title").textContent = title;
    at("code").hidden = true;
    at("more").hidden = true;
    showImages([]);            // the hits of the query before do not belong to this one
  }
}

function showQuery(source, name) {
  at("query").src = source;
  at("query").alt = `The query, ${name}`;
  at("query").hidden = false;
  at("invite").textContent = name;
}

function searchFile(file) {
  if (!file) return;
  showQuery(URL.createObjectURL(file), file.name);
  repeatQuery = (more) => query(`Most similar to ${file.name}`, () =>
    fetch(`/search?${settings(more)}`, { method: "POST", body: file }), more);
  repeatQuery();
}

function searchLike(image) {
  showQuery(`/image/${image.row}`, image.name);
  const likeThis = new URLSearchParams({ row: image.row, name: image.name });
  repeatQuery = (more) => query(`Most similar to ${image.name}`, () =>
    fetch(`/search?${likeThis}&${settings(more)}`), more);
  repeatQuery();
  at("title").focus({ preventScroll: true });  // the button that had it is replaced
  window.scrollTo({ top: 0 });
}

function showMore() {
  repeatQuery(true);
}

async function showRandomImages() {
  const number = ++queries;
  try {
    const images = await readResponse(await fetch(`/random?count=24&seed=${seed++}`));
    if (number !== queries) return;
    repeatQuery = null;
    at("title").textContent = "Random images of the index";
    at("code").hidden = true;
    at("more").hidden = true;
    showStatus("");
    showImages(images);
  } catch (error) {
    if (number === queries) showStatus(error.message, true);
  }
}

// The same file can be chosen again.
at("file").addEventListener("click", () => { at("file").value = ""; });
at("file").addEventListener("change", () => searchFile(at("file").files[0]));
for (const id of ["top", "radius"]) {
  at(id).addEventListener("change", () => repeatQuery && repeatQuery());
}
at("others").addEventListener("click", showRandomImages);
at("more").addEventListener("click", showMore);
at("query").addEventListener("error", () => { at("query").hidden = true; });
// A file that is dropped beside the box does not replace the page.
for (const kind of ["dragover", "drop"]) {
  window.addEventListener(kind, (event) => event.preventDefault());
}
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
  indexed = health.images;
}).catch((error) => showStatus(error.message, true));
showRandomImages();
