// The image viewer's store of frames: values by address, and why there are none.
"use strict";

(() => {
  const KEPT_BYTES = 192 * 1024 * 1024;

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

  window.imageViewer = { FrameStore, clamp };
})();
