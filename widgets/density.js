// All events so far, as Python has counted and drawn them; the colours, the axes and the words are made here.
const SVG = "http://www.w3.org/2000/svg"
const LATE = 15, VERY = 60 // minutes, as on the map
const VIEWS = [["moment", "Over time"], ["hour", "By hour of the day"]]
const MINUTE = 60_000, HOUR = 60 * MINUTE, DAY = 24 * HOUR
const STEPS = [MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY]
const MONTHS = [1, 2, 3, 6, 12, 24, 60, 120]

const number = (value) => value.toLocaleString("en", { maximumFractionDigits: Math.abs(value) < 10 ? 1 : 0 })
const signed = (value) => (value > 0 ? "+" : value < 0 ? "−" : "") + number(Math.abs(value))
const when = (at, options) => new Date(at).toLocaleString("en-GB", { timeZone: "UTC", ...options })
const day = (at) => when(at, { day: "numeric", month: "short", year: "numeric" })
const clock = (at) => when(at, { hour: "2-digit", minute: "2-digit" })

// Round values between two, at most so many.
function rounds(low, high, most) {
  const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 5, 10].map((x) => x * power).find((x) => x >= rough)
  return sequence(low, high, step)
}

function sequence(low, high, step) {
  const found = []
  for (let at = Math.ceil(low / step) * step; at <= high; at += step) found.push(Math.abs(at) < step / 1e6 ? 0 : at)
  return found
}

// Moments between two, at most so many, each with its words.
function moments(start, end, most) {
  const span = end - start, step = STEPS.find((x) => span / x <= most)
  if (step) {
    return sequence(start, end, step).map((at) => {
      const midnight = at % DAY === 0
      return [at, midnight ? when(at, { day: "numeric", month: "short" }) : clock(at)]
    })
  }
  const months = MONTHS.find((x) => span / (x * 30.4 * DAY) <= most) ?? 240
  const found = [], first = new Date(start)
  for (let month = Math.ceil((first.getUTCFullYear() * 12 + first.getUTCMonth()) / months) * months; ; month += months) {
    const at = Date.UTC(Math.floor(month / 12), month % 12)
    if (at > end) return found
    if (at >= start) found.push([at, month % 12 === 0 || months >= 12 ? String(Math.floor(month / 12)) : when(at, { month: "short" })])
  }
}

export function render({ model }) {
  const root = make("div", "view density")
  const head = make("div", "head"), total = make("div", "total"), count = make("b"), since = make("span")
  total.append(count, since)
  const choice = make("div", "choice")
  choice.setAttribute("role", "group")
  choice.setAttribute("aria-label", "What the picture is over")
  const plot = make("div", "plot"), field = make("div", "field"), ink = make("div", "ink"), ticks = make("div")
  const drawing = document.createElementNS(SVG, "svg")
  const line = make("div", "line"), hint = make("div", "hint")
  line.hidden = hint.hidden = true
  field.append(ink, drawing, line)
  field.setAttribute("role", "img")
  plot.append(field, ticks, hint)
  const foot = make("div", "foot"), said = make("p", "said")
  head.append(total, choice)
  root.append(head, plot, foot, said)
  let name = "moment"

  for (const [key, text] of VIEWS) {
    const button = make("button", "", text)
    button.type = "button"
    button.dataset.view = key
    button.addEventListener("click", () => {
      name = key
      draw()
    })
    choice.append(button)
  }

  const graded = () => model.picture.column === "delay"
  const value = (x) => (graded() ? `${signed(Math.round(x))} min` : number(x))
  const up = (x) => (100 * (x - model.picture.low)) / (model.picture.high - model.picture.low)

  // On time, late, very late: the colours of the map, each where its delays are.
  function colours() {
    if (!graded()) return "var(--accent)"
    const [late, very] = [up(LATE), up(VERY)]
    return `linear-gradient(to top, var(--good) ${late - 2}%, var(--warn) ${late + 2}% ${very - 4}%, var(--bad) ${very + 4}%)`
  }

  function shape(className, points) {
    const path = document.createElementNS(SVG, "polyline")
    path.setAttribute("class", className)
    path.setAttribute("points", points)
    return path
  }

  // The mean over some columns beside each other, so that a few events do not make it jump.
  function mean(view) {
    const { counts, means } = view, reach = Math.max(1, Math.round(counts.length / 80)), runs = [[]]
    for (let at = 0; at < counts.length; at++) {
      let n = 0, sum = 0
      for (let x = Math.max(0, at - reach); x <= Math.min(counts.length - 1, at + reach); x++) {
        n += counts[x]
        sum += counts[x] * (means[x] ?? 0)
      }
      if (!counts[at] && !n) runs.push([])
      else runs.at(-1).push(`${((at + 0.5) / counts.length) * 1000},${1000 - 10 * Math.min(100, Math.max(0, up(sum / n)))}`)
    }
    return runs.filter((run) => run.length > 1).map((run) => run.join(" "))
  }

  function axes(view) {
    const { low, high } = model.picture, wide = field.clientWidth, found = []
    const levels = graded() ? sequence(low, high, high - low > 600 ? 240 : high - low > 300 ? 120 : 60) : rounds(low, high, 5)
    const shown = levels.filter((at) => up(at) >= 2 && up(at) <= 98)
    for (const at of shown) {
      const tick = make("span", "tick y", graded() ? signed(at) : number(at))
      tick.style.top = `calc((100% - 24px) * ${1 - up(at) / 100})`
      found.push(tick)
    }
    const most = Math.max(2, Math.floor(wide / 90))
    const along = name === "hour" ? sequence(0, DAY, wide < 500 ? 6 * HOUR : 3 * HOUR).map((at) => [at, clock(at % DAY)]) : moments(view.start, view.end, most)
    for (const [at, text] of along) {
      const share = (at - view.start) / (view.end - view.start)
      const tick = make("span", "tick x", text)
      tick.style.left = `calc(var(--axis) + (100% - var(--axis)) * ${share})`
      if (share * wide < 16) tick.style.transform = "none"
      if ((1 - share) * wide < 20) tick.style.transform = "translateX(-100%)"
      found.push(tick)
    }
    ticks.replaceChildren(...found)
    return shown
  }

  function legend() {
    const items = []
    const item = (className, text, ...marks) => {
      const entry = make("span", className)
      entry.append(...marks, text)
      items.push(entry)
    }
    item("", `↑ ${model.picture.column}${graded() ? " in minutes" : ""}`)
    const mark = (colour, opacity) => {
      const square = make("i")
      square.style.background = colour
      square.style.opacity = opacity
      return square
    }
    if (graded()) {
      item("", "on time", mark("var(--good)", 1))
      item("", `${LATE} minutes late`, mark("var(--warn)", 1))
      item("", `${VERY} minutes late`, mark("var(--bad)", 1))
    }
    item("ramp", "few to many events", ...[0.27, 0.5, 0.75, 1].map((x) => mark(graded() ? "var(--soft)" : "var(--accent)", x)))
    item("stroke", "mean", make("i"))
    const { unknown, beyond, column } = model.picture
    if (unknown) item("", `${number(unknown)} without a ${column}, not drawn`)
    if (beyond) item("", `${number(beyond)} beyond the axis, at its edge`)
    if (name === "hour") item("", "hours in UTC")
    foot.replaceChildren(...items)
  }

  function say() {
    said.textContent = model.trouble || model.warning || (model.picture.views ? "" : "Drawing …")
    said.className = model.trouble || model.warning ? "said warn" : "said"
    said.hidden = !said.textContent
  }

  function draw() {
    say()
    const view = model.picture.views?.[name]
    for (const part of [head, plot, foot]) part.hidden = !view
    if (!view) return
    for (const button of choice.children) button.setAttribute("aria-pressed", String(button.dataset.view === name))
    count.textContent = model.picture.events.toLocaleString("en")
    since.textContent = `event${model.picture.events === 1 ? "" : "s"} since ${day(model.picture.since)}`
    ink.style.maskImage = `url(${view.image})`
    ink.style.background = colours()
    const levels = axes(view)
    drawing.setAttribute("viewBox", "0 0 1000 1000")
    drawing.setAttribute("preserveAspectRatio", "none")
    const rules = levels.map((at) => shape("rule", `0,${1000 - 10 * up(at)} 1000,${1000 - 10 * up(at)}`))
    const runs = mean(view)
    drawing.replaceChildren(...rules, ...runs.map((run) => shape("halo", run)), ...runs.map((run) => shape("mean", run)))
    field.setAttribute("aria-label", `${total.textContent}: ${model.picture.column} ${VIEWS.find(([key]) => key === name)[1].toLowerCase()}`)
    legend()
  }

  function point(event) {
    const view = model.picture.views?.[name], box = field.getBoundingClientRect()
    if (!view || !box.width) return
    const share = Math.min(0.9999, Math.max(0, (event.clientX - box.left) / box.width))
    const at = Math.floor(share * view.counts.length), step = (view.end - view.start) / view.counts.length
    const [from, to] = [view.start + at * step, view.start + (at + 1) * step]
    const date = name === "hour" ? "" : `${when(from, { weekday: "short", day: "numeric", month: "short" })}, `
    const events = view.counts[at]
    hint.replaceChildren(
      make("b", "", step >= DAY ? `${date.slice(0, -2)} – ${when(to, { day: "numeric", month: "short" })}` : `${date}${clock(from)}–${clock(to)}`),
      events ? `${number(events)} event${events === 1 ? "" : "s"}, mean ${value(view.means[at])}` : "no events",
    )
    line.hidden = hint.hidden = false
    line.style.left = `${100 * share}%`
    const x = event.clientX - plot.getBoundingClientRect().left, wide = hint.offsetWidth
    hint.style.left = `${Math.max(0, x + 12 + wide > plot.clientWidth ? x - 12 - wide : x + 12)}px`
  }
  field.addEventListener("pointermove", point)
  field.addEventListener("pointerdown", point)
  field.addEventListener("pointerleave", () => {
    line.hidden = hint.hidden = true
  })

  const sized = new ResizeObserver(() => draw())
  sized.observe(root)
  model.on("picture", draw)
  model.on("trouble", say)
  model.on("warning", say)
  model.on("remove", () => sized.disconnect())
  draw()
  return root
}
