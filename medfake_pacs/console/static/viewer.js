// The image viewer: windowing on the values themselves, zoom, position, slices, overlays. No libraries.
// Everything that the mouse does, keys and labelled controls do too.
"use strict";

(() => {
  const KEPT_BYTES = 192 * 1024 * 1024;
  const AHEAD = 3;
  const MAX_ZOOM = 16;
  const PAN_PX = 40;
  const SVG = "http://www.w3.org/2000/svg";
  const CT_WINDOWS = [
    ["Lung", -1350, 150],
    ["Mediastinum, soft tissue", -160, 240],
    ["Bone", -500, 1300],
    ["Brain", 0, 80],
  ];

  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

  /** Values of frames by address, the latest used last, bounded in bytes. */
  class FrameStore {
    constructor() {
      this.frames = new Map();
      this.bytes = 0;
      this.pending = new Map();
    }

    get(address) {
      const frame = this.frames.get(address);
      if (frame) {
        this.frames.delete(address);
        this.frames.set(address, frame);
        return Promise.resolve(frame);
      }
      if (!this.pending.has(address)) {
        const loading = this.load(address).finally(() => this.pending.delete(address));
        this.pending.set(address, loading);
      }
      return this.pending.get(address);
    }

    async load(address) {
      const answer = await fetch(address, { headers: { "HX-Request": "true" } });
      if (!answer.ok) throw new Error(await reasonOf(answer));
      const head = (name) => answer.headers.get(`X-Frame-${name}`);
      const content = await answer.arrayBuffer();
      const frame = {
        rows: Number(head("Rows")),
        columns: Number(head("Columns")),
        reduction: Number(head("Reduction")) || 1,
        units: head("Units") || "",
        low: Number(head("Low")),
        high: Number(head("High")),
        minimum: Number(head("Minimum")),
        maximum: Number(head("Maximum")),
        values: head("Format") === "int16" ? new Int16Array(content) : new Float32Array(content),
      };
      this.frames.set(address, frame);
      this.bytes += content.byteLength;
      for (const [oldest, kept] of this.frames) {
        if (this.bytes <= KEPT_BYTES || this.frames.size <= 1) break;
        this.frames.delete(oldest);
        this.bytes -= kept.values.byteLength;
      }
      return frame;
    }
  }

  /** What the server says of a failure, as text. */
  async function reasonOf(answer) {
    if (answer.status === 204) return "You are signed out. Sign in again and reload the page.";
    const text = await answer.text();
    const parsed = new DOMParser().parseFromString(text, "text/html");
    return parsed.body.textContent.trim() || `This image can't be shown (status ${answer.status}).`;
  }

  class Viewer {
    constructor(root) {
      this.root = root;
      this.frames = JSON.parse(root.dataset.frames);
      this.index = clamp(Number(root.dataset.start) || 0, 0, this.frames.length - 1);
      this.store = new FrameStore();
      this.frame = null;
      this.window = null;
      this.zoom = 1;
      this.fitted = true;
      this.left = 0;
      this.top = 0;
      this.drawing = false;
      this.pointers = new Map();
      this.find();
      this.listen();
      this.root.querySelector("[data-fallback]").hidden = true;
      this.part("interactive").hidden = false;
      this.show(this.index);
    }

    part(name) {
      return this.root.querySelector(`[data-${name}]`);
    }

    find() {
      this.stages = [...this.root.querySelectorAll("[data-stage]")];
      this.layers = [...this.root.querySelectorAll("[data-layer]")];
      this.canvases = [...this.root.querySelectorAll("[data-canvas]")];
      this.heat = this.part("heat");
      this.regions = this.part("regions");
      this.slice = this.part("slice");
      this.level = this.part("level");
      this.width = this.part("width");
      this.preset = this.part("preset");
      this.opacity = this.part("opacity");
      this.slice.max = String(this.frames.length);
      this.part("slices").hidden = this.frames.length < 2;
      this.part("heat-control").hidden = !this.frames.some((frame) => frame.heat);
      const overlays = this.frames.some((frame) => frame.heat || frame.regions.length);
      this.part("overlay-pane").hidden = !overlays;
      this.part("show-regions").parentElement.hidden = !overlays;
    }

    listen() {
      this.slice.addEventListener("input", () => this.show(Number(this.slice.value) - 1));
      for (const input of [this.level, this.width]) input.addEventListener("input", () => this.takeRanges());
      this.preset.addEventListener("change", () => this.takePreset());
      this.opacity.addEventListener("input", () => this.drawOverlays());
      this.part("show-regions").addEventListener("change", () => this.drawOverlays());
      this.part("invert").addEventListener("change", () => this.draw());
      this.root.addEventListener("click", (event) => {
        const button = event.target.closest("[data-act]");
        if (button) this.act(button.dataset.act);
      });
      for (const stage of this.stages) {
        stage.addEventListener("keydown", (event) => this.onKey(event));
        stage.addEventListener("wheel", (event) => this.onWheel(event, stage), { passive: false });
        stage.addEventListener("pointerdown", (event) => this.onDown(event, stage));
        stage.addEventListener("pointermove", (event) => this.onMove(event, stage));
        for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, (event) => this.onUp(event, stage));
        stage.addEventListener("pointerleave", () => { this.part("value").textContent = ""; });
        stage.addEventListener("dblclick", () => this.act("fit"));
      }
      new ResizeObserver(() => this.place()).observe(this.stages[0]);
    }

    act(name) {
      const acts = {
        previous: () => this.show(this.index - 1),
        next: () => this.show(this.index + 1),
        first: () => this.show(0),
        last: () => this.show(this.frames.length - 1),
        in: () => this.zoomBy(1.25),
        out: () => this.zoomBy(0.8),
        fit: () => this.fit(),
        reset: () => this.reset(),
        invert: () => this.toggle("invert", () => this.draw()),
        regions: () => this.toggle("show-regions", () => this.drawOverlays()),
        heat: () => { this.opacity.value = Number(this.opacity.value) ? "0" : "60"; this.drawOverlays(); },
      };
      acts[name]();
    }

    toggle(name, then) {
      this.part(name).checked = !this.part(name).checked;
      then();
    }

    reset() {
      this.part("invert").checked = false;
      this.part("show-regions").checked = true;
      this.opacity.value = "60";
      this.preset.value = "file";
      this.takePreset();
      this.fit();
    }

    // ---- which image ----

    address(index, kind = "raw") {
      const { base, frame } = this.frames[index];
      return kind === "heat" ? `${base}/heatmap.png?frame=${frame}` : `${base}/frames/${frame}.${kind}`;
    }

    async show(wanted) {
      const index = clamp(wanted, 0, this.frames.length - 1);
      this.index = index;
      const item = this.frames[index];
      this.slice.value = String(index + 1);
      this.slice.setAttribute("aria-valuetext", `${item.label}, ${index + 1} of ${this.frames.length}`);
      this.part("label").textContent = this.frames.length > 1 ? `${item.label} · ${index + 1} of ${this.frames.length}` : item.label;
      this.part("note").textContent = item.note || "";
      this.root.setAttribute("aria-busy", "true");
      try {
        const frame = await this.store.get(this.address(index));
        if (index !== this.index) return;
        this.part("error").hidden = true;
        this.take(frame);
      } catch (error) {
        if (index !== this.index) return;
        this.frame = null;
        this.fail(error.message);
      }
      this.root.removeAttribute("aria-busy");
      this.root.dispatchEvent(new CustomEvent("viewer:shown", { bubbles: true, detail: { index } }));
      this.fetchAhead(index);
    }

    fetchAhead(index) {
      const step = index >= (this.before ?? index) ? 1 : -1;
      this.before = index;
      for (let distance = 1; distance <= AHEAD; distance += 1) {
        const next = index + step * distance;
        if (next >= 0 && next < this.frames.length) this.store.get(this.address(next)).catch(() => {});
      }
    }

    fail(text) {
      const place = this.part("error");
      place.textContent = text;
      place.hidden = false;
      for (const canvas of this.canvases) canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
      this.heat.hidden = true;
      this.regions.replaceChildren();
    }

    take(frame) {
      const before = this.frame;
      this.frame = frame;
      const sameSize = before && before.rows === frame.rows && before.columns === frame.columns;
      for (const canvas of this.canvases) {
        canvas.width = frame.columns;
        canvas.height = frame.rows;
        canvas.setAttribute("aria-label", this.frames[this.index].label);
      }
      for (const layer of this.layers) {
        layer.style.width = `${frame.columns}px`;
        layer.style.height = `${frame.rows}px`;
      }
      if (!before || before.units !== frame.units || this.preset.options.length === 0) this.fillPresets(frame);
      // What somebody chose stays from image to image; otherwise each is shown as its own file says.
      if (!this.window || this.preset.value === "file" || this.preset.value === "range") this.takePreset();
      else this.setRanges();
      if (sameSize) this.place();
      else this.fit();
      this.draw();
      this.drawOverlays();
    }

    // ---- window ----

    fillPresets(frame) {
      const options = [["file", "As the file says"], ["range", "Full range"]];
      if (frame.units === "HU") options.push(...CT_WINDOWS.map(([name]) => [name, name]));
      options.push(["own", "Own"]);
      const chosen = this.preset.value;
      this.preset.replaceChildren(...options.map(([value, text]) => new Option(text, value)));
      this.preset.value = options.some(([value]) => value === chosen) ? chosen : "file";
    }

    takePreset() {
      if (!this.frame) return;
      const { low, high, minimum, maximum } = this.frame;
      const named = CT_WINDOWS.find(([name]) => name === this.preset.value);
      if (named) this.window = { low: named[1], high: named[2] };
      else if (this.preset.value === "range") this.window = { low: minimum, high: Math.max(maximum, minimum + 1e-6) };
      else if (this.preset.value === "file" || !this.window) this.window = { low, high };
      this.setRanges();
      this.draw();
    }

    /** Set both range inputs from the window. */
    setRanges() {
      const { minimum, maximum } = this.frame;
      const { low, high } = this.window;
      const span = Math.max(maximum - minimum, high - low, 1e-3);
      const step = span > 100 ? 1 : span / 500;
      this.level.min = String(Math.min(minimum, (low + high) / 2));
      this.level.max = String(Math.max(maximum, (low + high) / 2));
      this.width.min = String(step);
      this.width.max = String(span * 1.5);
      for (const input of [this.level, this.width]) input.step = String(step);
      this.level.value = String((low + high) / 2);
      this.width.value = String(high - low);
      this.describeWindow();
    }

    takeRanges() {
      const level = Number(this.level.value);
      const half = Math.max(Number(this.width.value), 1e-6) / 2;
      this.window = { low: level - half, high: level + half };
      this.preset.value = "own";
      this.describeWindow();
      this.draw();
    }

    describeWindow() {
      const { low, high } = this.window;
      const span = high - low;
      const text = (value) => `${span > 20 ? Math.round(value) : value.toPrecision(3)}${this.frame.units ? ` ${this.frame.units}` : ""}`;
      this.part("level-text").textContent = text((low + high) / 2);
      this.part("width-text").textContent = text(span);
      this.level.setAttribute("aria-valuetext", text((low + high) / 2));
      this.width.setAttribute("aria-valuetext", text(span));
    }

    moveWindow(across, down) {
      if (!this.frame) return;
      const span = Math.max(this.frame.maximum - this.frame.minimum, 1e-3) / 600;
      const { low, high } = this.window;
      const width = Math.max(high - low + across * span, span / 10);
      const level = (low + high) / 2 + down * span;
      this.window = { low: level - width / 2, high: level + width / 2 };
      this.preset.value = "own";
      this.setRanges();
      this.draw();
    }

    draw() {
      if (this.drawing || !this.frame) return;
      this.drawing = true;
      requestAnimationFrame(() => {
        this.drawing = false;
        if (this.frame) this.paint();
      });
    }

    paint() {
      const { values, rows, columns } = this.frame;
      const { low, high } = this.window;
      const scale = 255 / (high - low);
      const flip = this.part("invert").checked ? 255 : 0;
      const picture = new ImageData(columns, rows);
      const pixels = new Uint32Array(picture.data.buffer);
      const opaque = 0xff000000;
      if (values instanceof Int16Array) {
        const table = new Uint32Array(65536);
        for (let value = -32768; value < 32768; value += 1) {
          const grey = Math.abs(clamp(Math.round((value - low) * scale), 0, 255) - flip);
          table[value & 0xffff] = (opaque | (grey << 16) | (grey << 8) | grey) >>> 0;
        }
        for (let place = 0; place < values.length; place += 1) pixels[place] = table[values[place] & 0xffff];
      } else {
        for (let place = 0; place < values.length; place += 1) {
          const grey = Math.abs(clamp(Math.round((values[place] - low) * scale), 0, 255) - flip);
          pixels[place] = (opaque | (grey << 16) | (grey << 8) | grey) >>> 0;
        }
      }
      for (const canvas of this.canvases) canvas.getContext("2d").putImageData(picture, 0, 0);
    }

    drawOverlays() {
      if (!this.frame) return;
      const item = this.frames[this.index];
      const opacity = Number(this.opacity.value);
      this.part("opacity-text").textContent = opacity ? `${opacity} %` : "off";
      this.opacity.setAttribute("aria-valuetext", opacity ? `${opacity} percent` : "off");
      const address = item.heat ? this.address(this.index, "heat") : "";
      if (address && this.heat.getAttribute("src") !== address) this.heat.src = address;
      this.heat.hidden = !address || !opacity;
      this.heat.style.opacity = String(opacity / 100);
      const { columns, rows, reduction } = this.frame;
      this.regions.setAttribute("viewBox", `0 0 ${columns * reduction} ${rows * reduction}`);
      const shown = this.part("show-regions").checked ? item.regions : [];
      this.regions.replaceChildren(...shown.map(([x, y, width, height]) => {
        const rect = document.createElementNS(SVG, "rect");
        for (const [name, value] of Object.entries({ x, y, width, height })) rect.setAttribute(name, String(value));
        return rect;
      }));
    }

    // ---- zoom and position ----

    fit() {
      this.fitted = true;
      this.place();
    }

    place() {
      if (!this.frame) return;
      const { rows, columns } = this.frame;
      const { clientWidth, clientHeight } = this.stages[0];
      if (!clientWidth || !clientHeight) return;
      if (this.fitted) {
        this.zoom = Math.min(clientWidth / columns, clientHeight / rows);
        this.left = (clientWidth - columns * this.zoom) / 2;
        this.top = (clientHeight - rows * this.zoom) / 2;
      }
      // Some of the image always stays in sight.
      const margin = 32;
      this.left = clamp(this.left, margin - columns * this.zoom, clientWidth - margin);
      this.top = clamp(this.top, margin - rows * this.zoom, clientHeight - margin);
      for (const layer of this.layers) {
        layer.style.transform = `translate(${this.left}px, ${this.top}px) scale(${this.zoom})`;
      }
      for (const canvas of this.canvases) canvas.style.imageRendering = this.zoom >= 3 ? "pixelated" : "auto";
      this.part("zoom-text").textContent = `${Math.round(this.zoom / this.frame.reduction * 100)} %`;
    }

    zoomBy(factor, x = this.stages[0].clientWidth / 2, y = this.stages[0].clientHeight / 2) {
      if (!this.frame) return;
      const smallest = Math.min(0.05, this.zoom);
      const zoom = clamp(this.zoom * factor, smallest, MAX_ZOOM);
      this.left = x - (x - this.left) * zoom / this.zoom;
      this.top = y - (y - this.top) * zoom / this.zoom;
      this.zoom = zoom;
      this.fitted = false;
      this.place();
    }

    pan(across, down) {
      this.left += across;
      this.top += down;
      this.fitted = false;
      this.place();
    }

    // ---- keys, wheel, pointers ----

    onKey(event) {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const moves = {
        ArrowLeft: () => this.pan(PAN_PX, 0), ArrowRight: () => this.pan(-PAN_PX, 0),
        ArrowUp: () => this.pan(0, PAN_PX), ArrowDown: () => this.pan(0, -PAN_PX),
        "+": () => this.act("in"), "=": () => this.act("in"), "-": () => this.act("out"), "−": () => this.act("out"),
        0: () => this.act("fit"), PageUp: () => this.act("previous"), PageDown: () => this.act("next"),
        Home: () => this.act("first"), End: () => this.act("last"),
        i: () => this.act("invert"), h: () => this.act("heat"), g: () => this.act("regions"), r: () => this.act("reset"),
      };
      const move = moves[event.key] || moves[event.key.toLowerCase()];
      if (!move) return;
      event.preventDefault();
      move();
    }

    onWheel(event, stage) {
      event.preventDefault();
      if (this.frames.length > 1 && !event.ctrlKey) {
        // Trackpads send many small steps: a slice for each that adds up to a notch.
        this.wheeled = (this.wheeled || 0) + (event.deltaMode === 1 ? event.deltaY * 33 : event.deltaY);
        const steps = Math.trunc(this.wheeled / 60);
        this.wheeled -= steps * 60;
        if (steps) this.show(this.index + steps);
        return;
      }
      const box = stage.getBoundingClientRect();
      this.zoomBy(event.deltaY < 0 ? 1.15 : 1 / 1.15, event.clientX - box.left, event.clientY - box.top);
    }

    onDown(event, stage) {
      if (event.button > 1) return;
      stage.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      const panning = event.shiftKey || event.button === 1 || this.part("drag").value === "pan";
      this.dragging = panning ? "pan" : "window";
      stage.classList.toggle("panning", panning);
    }

    onMove(event, stage) {
      const before = this.pointers.get(event.pointerId);
      if (!before) {
        this.tellValue(event, stage);
        return;
      }
      const across = event.clientX - before.x;
      const down = event.clientY - before.y;
      if (this.pointers.size > 1) {
        this.pinch(event, stage, across, down);
      } else if (this.dragging === "pan") {
        this.pan(across, down);
      } else {
        this.moveWindow(across, down);
      }
      this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    }

    pinch(event, stage, across, down) {
      const [other] = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, point]) => point);
      const before = this.pointers.get(event.pointerId);
      const distance = (x, y) => Math.max(1, Math.hypot(x - other.x, y - other.y));
      const box = stage.getBoundingClientRect();
      this.pan(across / 2, down / 2);
      const factor = distance(event.clientX, event.clientY) / distance(before.x, before.y);
      this.zoomBy(factor, (event.clientX + other.x) / 2 - box.left, (event.clientY + other.y) / 2 - box.top);
    }

    onUp(event, stage) {
      this.pointers.delete(event.pointerId);
      if (!this.pointers.size) stage.classList.remove("panning");
    }

    tellValue(event, stage) {
      if (!this.frame) return;
      const box = stage.getBoundingClientRect();
      const column = Math.floor((event.clientX - box.left - this.left) / this.zoom);
      const row = Math.floor((event.clientY - box.top - this.top) / this.zoom);
      const { rows, columns, values, units, reduction } = this.frame;
      const inside = column >= 0 && row >= 0 && column < columns && row < rows;
      const value = inside ? values[row * columns + column] : 0;
      const number = Number.isInteger(value) ? value : value.toPrecision(5);
      this.part("value").textContent = inside ? `${column * reduction}, ${row * reduction}: ${number} ${units}` : "";
    }
  }

  for (const root of document.querySelectorAll("[data-viewer]")) root.viewer = new Viewer(root);
})();
