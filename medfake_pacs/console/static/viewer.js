// The image viewer: windowing on the values themselves, zoom, position, slices, overlays. No libraries.
// Everything that the mouse does, keys and labelled controls do too. Its parts are in viewer_*.js, loaded before.
"use strict";

(() => {
  const AHEAD = 3;
  const SVG = "http://www.w3.org/2000/svg";
  const { clamp, FrameStore, PlacedViewer } = window.imageViewer;

  /** One viewer on the page: its frames, which of them is shown, and the overlays. */
  class Viewer extends PlacedViewer {
    constructor(root) {
      super();
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
        if (item.kept === false) throw new Error(`${item.label} is not kept any more.`);
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
        if (this.frames[next] && this.frames[next].kept !== false) this.store.get(this.address(next)).catch(() => {});
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
  }

  for (const root of document.querySelectorAll("[data-viewer]")) root.viewer = new Viewer(root);
})();
