// The image viewer: zoom and position, and what keys, wheel and pointers do to them.
"use strict";

(() => {
  const MAX_ZOOM = 16;
  const PAN_PX = 40;
  const { clamp, WindowedViewer } = window.imageViewer;

  /** A viewer whose image can be moved and zoomed. */
  class PlacedViewer extends WindowedViewer {
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

  window.imageViewer.PlacedViewer = PlacedViewer;
})();
