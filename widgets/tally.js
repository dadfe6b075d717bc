// The last windows of a live table as they are pushed: a row each group, and each span's measures in it.
const STALE_MS = 15_000
const OWN = new Set(["span", "window_start", "window_end", "last_event", "computed_at"])

const figure = (value) => (typeof value === "number" ? value.toLocaleString("en", { maximumFractionDigits: 1 }) : value ?? "–")
const clock = (text) => (text ?? "").slice(0, 16).replace("T", " ")

function ago(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000))
  return seconds < 120 ? `${seconds} s ago` : seconds < 7200 ? `${Math.round(seconds / 60)} min ago` : `${Math.round(seconds / 3600)} h ago`
}

export function render({ model }) {
  const root = make("div", "view tally none"), panel = make("div", "panel"), head = make("div", "head")
  const fresh = make("span", "fresh"), table = make("table")
  head.append(make("h3", "", "The last windows"), fresh)
  panel.append(head, table)
  root.append(panel)

  const groups = new Map() // what names the group → {label, spans: span → row}
  const lengths = new Map() // span → milliseconds
  const newest = new Map() // span → start of its last window
  let keys = [], computed = 0, upTo = "", changed = false

  function take(row) {
    const by = keys.filter((key) => key !== "span").map((key) => row[key] ?? "none"), name = JSON.stringify(by)
    if (!groups.has(name)) groups.set(name, { label: by.join(", "), spans: new Map() })
    const spans = groups.get(name).spans, known = spans.get(row.span)
    if (known && (known.window_start > row.window_start || (known.window_start === row.window_start && known.computed_at > row.computed_at))) return
    spans.set(row.span, row)
    lengths.set(row.span, Date.parse(row.window_end) - Date.parse(row.window_start))
    if (row.window_start > (newest.get(row.span) ?? "")) newest.set(row.span, row.window_start)
    computed = Math.max(computed, Date.parse(row.computed_at))
    if (row.last_event > upTo) upTo = row.last_event
    changed = true
  }

  function hear(message) {
    if (message.type === "hello") keys = message.keys
    if (message.type === "snapshot" || message.type === "rows") message.rows.forEach(take)
  }

  // Measures that a column is made of: all in the title, count, mean and the highest percentile beside each other.
  function shown(row) {
    const names = Object.keys(row).filter((name) => !OWN.has(name) && !name.startsWith("_") && !keys.includes(name))
    return names.length <= 3 ? names : [...names.slice(0, 2), names.at(-1)]
  }

  function draw() {
    const spans = [...lengths.keys()].sort((a, b) => lengths.get(a) - lengths.get(b))
    const longest = spans.at(-1)
    const named = [...groups.values()].sort((a, b) => a.label.localeCompare(b.label))
    const some = named.map((group) => group.spans.get(longest)).find(Boolean)
    if (!some) return
    const measures = shown(some), top = make("tr"), below = make("tr")
    top.append(make("th", "", ""))
    below.append(make("th", "", keys.filter((key) => key !== "span").join(", ")))
    for (const span of spans) {
      const heading = make("th", "", `${span}, from ${clock(newest.get(span)).slice(11)}`)
      heading.colSpan = measures.length
      top.append(heading)
      below.append(...measures.map((name) => make("th", "", name.replaceAll("_", " "))))
    }
    const body = named.map((group) => {
      const line = make("tr")
      line.append(make("td", "", group.label))
      for (const span of spans) {
        const row = group.spans.get(span)
        for (const name of measures) {
          const cell = make("td", row && row.window_start !== newest.get(span) ? "past" : "", row ? figure(row[name]) : "–")
          if (row) cell.title = `${clock(row.window_start)} to ${clock(row.window_end)}`
          line.append(cell)
        }
      }
      return line
    })
    table.replaceChildren(top, below, ...body)
    root.classList.remove("none")
  }

  const ticking = setInterval(() => {
    if (changed) draw()
    changed = false
    if (!computed) return
    const age = Date.now() - computed
    fresh.textContent = `as of ${ago(age)}, up to ${clock(upTo)} of the feed`
    fresh.classList.toggle("stale", age > STALE_MS)
  }, 500)
  follow(model, { snapshot: true, frame_ms: 500 }, { hear })
  model.on("remove", () => clearInterval(ticking))
  return root
}
