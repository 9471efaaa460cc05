// No answer is lost when an event is sent just as the server closes the stream of answers.
//
// The server closes it when nothing is pending. An event that it takes after that, while the page has not read
// of the closing yet, counts on the old stream, and Gradio's page (6.31) opens no new one for it: the answer
// waits on the server until something else is asked. Here such a closing is kept from the page, and the stream
// goes on with a new connection.
(() => {
  const ask = window.fetch.bind(window);
  const joining = new Set();
  const waiting = new Set();
  const answered = new Set();

  const join = async (request) => {
    joining.add(request);
    try {
      const answer = await ask(request);
      const { event_id: event } = answer.ok ? await answer.clone().json() : {};
      if (event && !answered.delete(event)) waiting.add(event);
      return answer;
    } finally {
      joining.delete(request);
    }
  };

  // Pass one connection's messages on; true where the stream has to go on with another.
  const pass = async (body, stream) => {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    const encoder = new TextEncoder();
    let goesOn = false;
    for (let text = ""; ; ) {
      const { value, done } = await reader.read();
      if (done) return goesOn;
      const messages = (text + value).split("\n\n");
      text = messages.pop();
      for (const message of messages) {
        const { msg: kind, event_id: event } = JSON.parse(message.slice("data: ".length));
        if (kind === "process_completed" && !waiting.delete(event)) answered.add(event);
        goesOn = kind === "close_stream" && joining.size + waiting.size > 0;
        if (!goesOn) stream.enqueue(encoder.encode(message + "\n\n"));
      }
    }
  };

  const follow = async (request) => {
    const first = await ask(request.clone());
    if (!first.ok) return first;
    const start = async (stream) => {
      try {
        for (let answer = first; await pass(answer.body, stream); answer = await ask(request.clone())) {
          if (!answer.ok) throw new Error(`the stream of answers ended with ${answer.status}`);
        }
        stream.close();
      } catch (error) {
        waiting.clear();
        stream.error(error);
      }
    };
    return new Response(new ReadableStream({ start: (stream) => void start(stream) }), first);
  };

  window.fetch = (input, options) => {
    const { pathname } = new URL(input instanceof Request ? input.url : input, location.href);
    if (pathname.endsWith("/queue/join")) return join(new Request(input, options));
    if (pathname.endsWith("/queue/data")) return follow(new Request(input, options));
    return ask(input, options);
  };
})();
