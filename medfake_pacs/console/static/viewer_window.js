// The image viewer: the window through which values are seen, and how they are painted.
"use strict";

(() => {
  const { clamp } = window.imageViewer;
  const CT_WINDOWS = [
    ["Lung", -1350, 150],
    ["Mediastinum, soft tissue", -160, 240],
    ["Bone", -500, 1300],
    ["Brain", 0, 80],
  ];

  /** What belongs to the window; the viewer adds the rest. */
  class WindowedViewer {
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
  }

  window.imageViewer.WindowedViewer = WindowedViewer;
})();
