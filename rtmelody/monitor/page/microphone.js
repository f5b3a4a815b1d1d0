// This device's microphone, sent to the server sample by sample; its notes come back on the same socket.

export class Microphone {
  constructor(onEvent, onEnd) {
    this.onEvent = onEvent;
    this.onEnd = onEnd;
    this.stream = null;
    this.context = null;
    this.socket = null;
  }

  get running() {
    return this.stream !== null;
  }

  async start() {
    if (!navigator.mediaDevices) throw new Error("A browser gives its microphone to localhost and to https only.");
    const constraints = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 };
    this.stream = await navigator.mediaDevices.getUserMedia({ audio: constraints });
    try {
      const rate = this.stream.getAudioTracks()[0].getSettings().sampleRate;
      this.context = new AudioContext(rate ? { sampleRate: rate } : {});
      await this.context.audioWorklet.addModule("page/worklet.js");
    } catch (error) {
      this.stop();
      throw error;
    }
    const address = new URL(`microphone?rate=${this.context.sampleRate}`, location.href.replace(/^http/, "ws"));
    const socket = new WebSocket(address);
    this.socket = socket;
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.ready) this.connect();
      else this.onEvent(message);
    };
    socket.onclose = ({ reason }) => {
      if (this.socket === socket) this.stop(reason); // and not a later one
    };
  }

  connect() {
    const node = new AudioWorkletNode(this.context, "sender", { numberOfOutputs: 0 });
    node.port.onmessage = ({ data }) => {
      if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(data);
    };
    this.context.createMediaStreamSource(this.stream).connect(node);
  }

  stop(reason = "") {
    if (!this.running) return;
    this.stream.getTracks().forEach((track) => track.stop());
    this.stream = null;
    this.context?.close();
    this.context = null;
    this.socket?.close();
    this.socket = null;
    this.onEnd(reason);
  }
}
