// In the audio thread: four blocks of 128 samples make a message.

const BLOCKS = 4;

class Sender extends AudioWorkletProcessor {
  constructor() {
    super();
    this.samples = new Float32Array(BLOCKS * 128);
    this.filled = 0;
  }

  process([input]) {
    if (input.length) {
      this.samples.set(input[0], this.filled);
      this.filled += input[0].length;
      if (this.filled === this.samples.length) {
        const message = this.samples.slice().buffer;
        this.port.postMessage(message, [message]);
        this.filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("sender", Sender);
