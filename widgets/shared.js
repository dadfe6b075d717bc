// What the widgets of a live table share: elements, and a line to the push service that comes back by itself.
function make(tag, className, text) {
  const element = document.createElement(tag)
  if (className) element.className = className
  if (text !== undefined) element.textContent = text
  return element
}

// Hears `model.feed` while the widget is there: again after each break, from where it was. Says whether it is connected.
function follow(model, request, { hear, lost = () => {} }) {
  let socket = null, position = null, pause = 500, closed = false, timer = null

  function connect() {
    clearTimeout(timer)
    if (closed || socket || !model.url || !model.ticket || !model.feed) return
    socket = new WebSocket(`${model.url}/live/${model.feed}`, ["tidemill.v1", `bearer.${model.ticket}`])
    socket.onopen = () => {
      pause = 500
      socket.send(JSON.stringify({ ...request, position }))
    }
    socket.onmessage = (event) => {
      const message = JSON.parse(event.data)
      // Not the greeting's: what comes between that position and this page's is still to be sent.
      if (message.position && message.type !== "hello") position = message.position
      hear(message)
    }
    socket.onclose = () => {
      socket = null
      lost()
      timer = setTimeout(connect, pause)
      pause = Math.min(5000, pause * 2)
    }
  }

  connect()
  model.on("ticket", connect)
  model.on("url", connect)
  model.on("remove", () => {
    closed = true
    clearTimeout(timer)
    socket?.close()
  })
  return () => socket !== null
}

