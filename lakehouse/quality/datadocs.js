// Great Expectations fills the tables of its index through bootstrap-table; this does what it asks of it, and no more.
jQuery.fn.bootstrapTable = function ({ columns, data, sortName, sortOrder, toolbar }) {
  const $ = jQuery
  const table = this
  const keys = Object.fromEntries(columns.map(({ field, sortName }) => [field, sortName ?? field]))
  let [by, sign] = [sortName, sortOrder === "desc" ? -1 : 1]

  const value = (row) => (by === "validation_success" ? row._validation_success_text : row[keys[by]])
  const rows = data.map((row) => {
    const line = $("<tr>").data({ href: row._table_row_link_path, row })
    for (const { field, title } of columns) {
      const cell = $("<td>").attr("data-label", title).html(row[field])
      if (field === "validation_success") cell.find("span").append(document.createTextNode(` ${row._validation_success_text}`))
      if (field === "run_time" || columns.length === 1) cell.wrapInner($("<a>").attr("href", row._table_row_link_path))
      line.append(cell)
    }
    return line.on("click", ({ target }) => target.closest("a") ?? table.trigger("click-row.bs.table", [row, line]))
  })

  const heads = columns.map(({ field, title }) => {
    const button = $("<button type='button'>").text(title)
    button.on("click", () => {
      ;[by, sign] = [field, by === field ? -sign : 1]
      show()
    })
    return $("<th scope='col'>").append(button).data({ field })
  })

  const search = $("<input type='search' class='form-control' placeholder='Search' aria-label='Search'>").on("input", show)
  const body = $("<tbody>")

  function show() {
    const wanted = search.val().trim().toLowerCase()
    const order = (one, other) => {
      const [a, b] = [value(one.data("row")), value(other.data("row"))]
      return a < b ? -sign : a > b ? sign : 0
    }
    for (const line of rows.sort(order)) body.append(line.toggle(line.text().toLowerCase().includes(wanted)))
    for (const head of heads) {
      if (head.data("field") === by) head.attr("aria-sort", sign > 0 ? "ascending" : "descending")
      else head.removeAttr("aria-sort")
    }
  }

  $(toolbar).empty().append(search)
  table.addClass("table index").append($("<thead>").append($("<tr>").append(heads)), body)
  show()
}

jQuery(($) => {
  $("table[data-toggle=table]").addClass("table")
  $("[id$=-parent]").has(".collapse").filter((_, part) => !$(part).children(".collapse").text().trim()).hide() // no traceback is kept
})
