// Shows `html`, and changes in place only what differs; counts moments on; says when no news comes.
const STALE_SECONDS = 10

function morph(from, to) {
  const old = [...from.childNodes], now = [...to.childNodes]
  now.forEach((next, i) => {
    const node = old[i]
    if (!node) {
      from.appendChild(next)
    } else if (node.nodeType !== next.nodeType || node.nodeName !== next.nodeName) {
      from.replaceChild(next, node)
    } else if (node.nodeType !== Node.ELEMENT_NODE) {
      if (node.nodeValue !== next.nodeValue) {
        node.nodeValue = next.nodeValue
        flash(node.parentElement)
      }
    } else {
      for (const {name, value} of next.attributes) {
        if (node.getAttribute(name) !== value) node.setAttribute(name, value)
      }
      for (const {name} of [...node.attributes]) {
        if (!next.hasAttribute(name) && name !== "open") node.removeAttribute(name)
      }
      if (!node.hasAttribute("data-at") && !node.hasAttribute("data-fresh")) morph(node, next)
    }
  })
  old.slice(now.length).forEach((node) => node.remove())
}

function flash(element) {
  if (!element?.closest("[data-flash]")) return
  element.animate([{ color: "var(--accent)" }, {}], { duration: 900 })
}

function ago(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s ago`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`
  return `${Math.floor(seconds / 86400)} d ago`
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text
}

export function render({ model, el }) {
  const root = document.createElement("div")
  root.className = "view"
  root.innerHTML = model.html
  let heard = Date.now()

  function tick() {
    for (const time of root.querySelectorAll("time[data-at]")) {
      say(time, ago(Date.now() / 1000 - Number(time.dataset.at)))
    }
    const fresh = root.querySelector("[data-fresh]")
    if (!fresh) return
    const age = (Date.now() - heard) / 1000
    const stale = model.beat > 0 && age > STALE_SECONDS
    say(fresh, model.beat === 0 ? "Reading …" : stale ? `Stale: no news for ${Math.floor(age)} s` : `Live · read ${ago(age)}`)
    fresh.classList.toggle("stale", stale)
    document.documentElement.toggleAttribute("data-stale", stale)
  }

  model.on("html", () => {
    const next = document.createElement("div")
    next.innerHTML = model.html
    morph(root, next)
    tick()
  })
  model.on("beat", () => {
    heard = Date.now()
    tick()
  })
  const timer = setInterval(tick, 1000)
  model.on("remove", () => clearInterval(timer))
  tick()
  return root
}
