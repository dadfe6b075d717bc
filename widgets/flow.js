// Rows of a live table as they are pushed: figures, a map and a board. Nothing is asked of a table.
const BOARD_ROWS = 12
const AGES = 2000
const PULSE_MS = 4000
const WINDOW_MS = 60 * 60 * 1000 // of the feed's own time
const LATE = 15, VERY = 60 // minutes

function quantile(values, q) {
  if (!values.length) return null
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]
}

const grade = (delay) => (delay == null ? "none" : delay >= VERY ? "very" : delay >= LATE ? "late" : "fine")
function minutes(delay) {
  if (delay == null) return "–"
  const whole = Math.round(delay)
  return `${whole > 0 ? "+" : whole < 0 ? "−" : ""}${Math.abs(whole)} min`
}

// What happens to a row, in order: hop, and its name.
const HOPS = [
  ["producer_to_gate", "producer → gate"],
  ["gate_to_hot", "gate → hot store"],
  ["gate_to_socket", "gate → socket"],
  ["producer_to_hot", "producer → hot store"],
  ["producer_to_socket", "producer → socket"],
]
const ms = (value) => (value < 10_000 ? value.toLocaleString("en", { maximumFractionDigits: value < 10 ? 1 : 0 }) : `${Math.round(value / 1000).toLocaleString("en")} s`)

// The columns of the board: heading, and what a row has there, as text or [text, class, title].
const FLIGHTS = [
  ["Flight", (row) => `${row.carrier} ${row.flight}`],
  ["", (row) => row.event],
  ["To", (row) => [row.dest_name ?? row.dest ?? "", "name", `${row.carrier_name ?? row.carrier}, ${row.origin} → ${row.dest}`]],
  ["Delay", (row) => [minutes(row.delay), grade(row.delay)]],
]

function columnsOf(row) {
  if ("carrier" in row && "dest" in row) return FLIGHTS
  const names = Object.keys(row).filter((name) => !name.startsWith("_")).slice(0, 5)
  return names.map((name) => [name, (other) => String(other[name] ?? "–")])
}

export function render({ model }) {
  const root = make("div", "view happening plain")
  const line = make("div", "panel state")
  const pill = make("span", "pill quiet"), sentence = make("span", "sentence")
  line.append(pill, sentence)
  const tiles = make("div", "panel tiles")
  const figures = {}
  for (const [key, name] of [
    ["rate", "rows a second, over 10 s"],
    ["age", "gate to screen, p50"],
    ["tail", "gate to screen, p99"],
    ["mean", "mean delay, last hour of the feed"],
    ["share", `${LATE} minutes late or more`],
    ["feed", "the feed's clock"],
  ]) {
    const tile = make("div", "tile")
    figures[key] = make("b", key === "feed" ? "moment" : "", "–")
    tile.append(figures[key], make("span", "", name))
    tiles.append(tile)
  }
  const map = make("div", "panel map"), canvas = make("canvas")
  const legend = make("div", "legend")
  map.append(make("h3", "", "Where they go"), canvas, legend)
  const board = make("div", "panel board"), table = make("table")
  board.append(make("h3", "", "The last ones"), table)
  const hops = make("div", "panel hops"), hopTable = make("table")
  hops.append(make("h3", "", "How old rows are at each hop, ms, last minute"), hopTable)
  hops.hidden = true
  root.append(line, tiles, map, board, hops)

  const places = new Map() // "lat,lon" → {at, delay}
  const last = [], recent = [], ages = [], arrivals = []
  let changed = true, now = 0, said = ""

  function state(kind, mark, word, text) {
    pill.className = `pill ${kind}`
    pill.textContent = `${mark} ${word}`
    sentence.textContent = text
  }

  function take(row, live) {
    last.unshift(row)
    if (last.length > BOARD_ROWS) last.pop()
    const at = Date.parse(row.event_time ?? row._timestamp ?? "")
    if (Number.isFinite(at)) now = Math.max(now, at)
    if (live && row.delay != null && Number.isFinite(at)) recent.push([at, row.delay])
    if (row.latitude != null && row.longitude != null) {
      root.classList.remove("plain")
      const key = `${row.latitude},${row.longitude}`
      places.set(key, { x: row.longitude, y: row.latitude, at: live ? performance.now() : places.get(key)?.at ?? -Infinity, delay: row.delay, name: row.dest ?? "" })
    }
  }

  function hear(message) {
    if (message.type === "hello") state("good", "●", "Live", `${model.feed}: rows arrive as they pass the gate`)
    if (message.type === "error" || message.type === "gap") said = message.reason
    if (message.type === "snapshot") {
      message.rows.sort((a, b) => (a.event_time ?? "").localeCompare(b.event_time ?? ""))
      message.rows.forEach((row) => take(row, false))
    }
    if (message.type === "latency") latency(message.hops)
    if (message.type === "rows") {
      const age = Date.now() - message.gated_ms
      ages.push(age)
      if (ages.length > AGES) ages.shift()
      arrivals.push([performance.now(), message.rows.length + message.coalesced])
      message.rows.forEach((row) => take(row, true))
    }
    changed = true
  }

  function latency(seen) {
    const there = HOPS.filter(([hop]) => seen[hop]), head = make("tr")
    hops.hidden = !there.length
    head.append(...["", "p50", "p95", "p99", "max"].map((heading) => make("th", "", heading)))
    hopTable.replaceChildren(head, ...there.map(([hop, name]) => {
      const line = make("tr"), { p50_ms, p95_ms, p99_ms, max_ms } = seen[hop]
      line.append(make("td", "", name), ...[p50_ms, p95_ms, p99_ms, max_ms].map((value) => make("td", "", ms(value))))
      return line
    }))
  }

  function lost() {
    state("warn", "▲", "Reconnecting", said || "The push service does not answer; it is asked again and again.")
    said = ""
  }

  function trouble() {
    if (isConnected()) return
    if (model.trouble) state("warn", "▲", "Waiting", model.trouble)
    else if (!model.feed) state("quiet", "○", "Nothing to show", "This workspace declares no live table.")
    else if (!model.url) state("quiet", "○", "Connecting", "")
  }

  // Draws the places; says whether one of them still pulses.
  function draw() {
    const width = canvas.clientWidth, height = canvas.clientHeight
    if (!width || !places.size) return false
    const scale = window.devicePixelRatio || 1
    if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale)
    if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale)
    const pen = canvas.getContext("2d")
    pen.setTransform(scale, 0, 0, scale, 0, 0)
    pen.clearRect(0, 0, width, height)
    const all = [...places.values()]
    // The middle 96 % fill the map, so that one far island does not make the rest small; it stays at the edge.
    const xs = all.map((p) => p.x), ys = all.map((p) => p.y)
    const [x0, x1, y0, y1] = [quantile(xs, 0.03), quantile(xs, 0.98), quantile(ys, 0.02), quantile(ys, 0.98)]
    const squeeze = Math.cos((((y0 + y1) / 2) * Math.PI) / 180)
    const zoom = Math.min((width - 48) / Math.max(1e-6, (x1 - x0) * squeeze), (height - 48) / Math.max(1e-6, y1 - y0))
    const colours = {} // a canvas knows no light-dark(); the legend's dots have them worked out
    for (const dot of legend.querySelectorAll("i")) colours[dot.dataset.grade] = getComputedStyle(dot).backgroundColor
    const inside = (value, most) => Math.min(most - 10, Math.max(10, value))
    for (const place of all) {
      const x = inside(width / 2 + (place.x - (x0 + x1) / 2) * squeeze * zoom, width)
      const y = inside(height / 2 - (place.y - (y0 + y1) / 2) * zoom, height)
      const age = (performance.now() - place.at) / PULSE_MS
      pen.fillStyle = colours[grade(place.delay)]
      if (age < 1) {
        pen.globalAlpha = 0.35 * (1 - age)
        pen.beginPath()
        pen.arc(x, y, 5 + 13 * age, 0, 2 * Math.PI)
        pen.fill()
      }
      pen.globalAlpha = age < 1 ? 1 : 0.55
      if (age < 1) {
        pen.font = "600 12px system-ui, sans-serif"
        pen.textAlign = x > width - 50 ? "right" : "left"
        pen.fillText(place.name, x + (x > width - 50 ? -9 : 9), y + 4)
      }
      pen.beginPath()
      pen.arc(x, y, age < 1 ? 4.5 : 3, 0, 2 * Math.PI)
      pen.fill()
    }
    return all.some((place) => performance.now() - place.at < PULSE_MS)
  }

  function legends() {
    legend.replaceChildren(
      ...[
        ["good", "fine", "on time"],
        ["warn", "late", `${LATE} minutes late`],
        ["bad", "very", `${VERY} minutes late`],
        ["quiet", "none", "cancelled, or unknown"],
      ].map(([name, kind, text]) => {
        const item = make("span"), dot = make("i")
        dot.style.background = `var(--${name})`
        dot.dataset.grade = kind
        item.append(dot, text)
        return item
      }),
    )
  }

  function rows() {
    if (!last.length) return
    const columns = columnsOf(last[0]), head = make("tr")
    head.append(...columns.map(([heading]) => make("th", "", heading)))
    table.replaceChildren(head, ...last.map((row) => {
      const line = make("tr")
      for (const [, read] of columns) {
        const [text, className, title] = [read(row)].flat(), cell = make("td", className, text)
        if (title) cell.title = title
        line.append(cell)
      }
      return line
    }))
  }

  function tick() {
    const present = performance.now()
    while (arrivals.length && present - arrivals[0][0] > 10_000) arrivals.shift()
    while (recent.length && (recent[0][0] < now - WINDOW_MS || recent.length > 50_000)) recent.shift()
    const sum = arrivals.reduce((total, [, count]) => total + count, 0)
    figures.rate.textContent = (sum / 10).toLocaleString("en", { maximumFractionDigits: sum < 100 ? 1 : 0 })
    if (!changed) return
    changed = false
    const p50 = quantile(ages, 0.5), p99 = quantile(ages, 0.99)
    figures.age.textContent = p50 == null ? "–" : `${Math.max(0, p50)} ms`
    figures.tail.textContent = p99 == null ? "–" : `${Math.max(0, p99)} ms`
    if (recent.length) {
      figures.mean.textContent = minutes(recent.reduce((total, [, delay]) => total + delay, 0) / recent.length)
      figures.share.textContent = `${Math.round((100 * recent.filter(([, delay]) => delay >= LATE).length) / recent.length)} %`
    }
    if (now) figures.feed.textContent = new Date(now).toISOString().slice(0, 16).replace("T", " ")
    rows()
  }

  let frame = 0
  function animate() {
    frame = draw() ? requestAnimationFrame(animate) : 0
  }
  legends()
  const isConnected = follow(model, { snapshot: true, frame_ms: 50, latency: true }, { hear, lost })
  trouble()
  tick()
  const ticking = setInterval(() => {
    tick()
    if (!frame) animate() // also after a resize, or a change of light and dark
  }, 250)
  model.on("url", trouble)
  model.on("trouble", trouble)
  model.on("remove", () => {
    cancelAnimationFrame(frame)
    clearInterval(ticking)
  })
  return root
}
