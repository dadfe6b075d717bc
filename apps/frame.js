// Light and dark: the page's colours follow CSS; charts are painted, so their axes are given the colours.
const html = document.documentElement
const dark = matchMedia("(prefers-color-scheme: dark)")

function isDark() {
  const chosen = localStorage.getItem("tidemill-theme")
  return chosen ? chosen === "dark" : dark.matches
}

function paint() {
  const soft = isDark() ? "#9fadbb" : "#52606d"
  for (const shown of window.Bokeh?.documents ?? []) {
    for (const model of shown._all_models.values()) {
      if ("major_label_text_color" in model) model.major_label_text_color = soft
      if ("label_text_color" in model) model.label_text_color = soft
    }
  }
}

document.getElementById("theme").addEventListener("click", () => {
  const next = isDark() ? "light" : "dark"
  localStorage.setItem("tidemill-theme", next)
  html.style.colorScheme = next
  paint()
})
dark.addEventListener("change", paint)

let painted = 0
const waiting = setInterval(() => {
  painted += 1
  paint()
  if (painted > 20) clearInterval(waiting)
}, 300)

// The server ended and came back: its sessions did not, so the page begins anew.
setInterval(async () => {
  if (!html.hasAttribute("data-stale")) return
  if (Date.now() - Number(sessionStorage.getItem("tidemill-reloaded") ?? 0) < 30_000) return
  const answer = await fetch(location.pathname, { cache: "no-store" }).catch(() => null)
  if (answer?.ok && html.hasAttribute("data-stale")) {
    sessionStorage.setItem("tidemill-reloaded", String(Date.now()))
    location.reload()
  }
}, 5_000)
