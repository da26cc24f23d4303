/**
 * What a terminal shows after a program's output: lines of styled text. Knows what pcnk and its like write: colours and
 * weights (SGR), carriage return, erasing, moving up. Every character takes one column.
 */

/** How characters look. */
export interface Style {
  /** 0 to 7, and 8 to 15 for the bright ones; undefined: the terminal's own. */
  color?: number;
  bold?: boolean;
  dim?: boolean;
}

/** Characters next to each other that look the same. */
export interface Run {
  column: number;
  text: string;
  style: Style;
}

interface Cell {
  character: string;
  style: Style;
}

/** The lines of the screen, which wrap at `columns`, without empty ones at the end; blanks at a line's end are left out. */
export function screen(output: string, columns = Infinity): Run[][] {
  const rows: Cell[][] = [[]];
  let row = 0, column = 0, style: Style = {};
  // deno-lint-ignore no-control-regex -- ECMA-48's control sequences
  const tokens = output.matchAll(/\x1b\[([0-9;?]*)([A-Za-z])|\x1b\][^\x07]*\x07|[^]/gu);
  for (const [token, parameters = "", command] of tokens) {
    if (command === "m") style = styled(style, parameters);
    else if (command === "K") rows[row]!.length = Math.min(rows[row]!.length, column);
    else if (command === "A") row = Math.max(0, row - (Number(parameters) || 1));
    else if (command === "G") column = (Number(parameters) || 1) - 1;
    else if (command === "J") rows.length = row + 1;
    else if (token === "\n") row++;
    else if (token === "\r") column = 0;
    else if (token >= " " && !token.startsWith("\x1b")) {
      if (column >= columns) row++, column = 0;
      const line = rows[row] ??= [];
      while (line.length < column) line.push({ character: " ", style: {} });
      line[column++] = { character: token, style };
    }
    while (rows.length <= row) rows.push([]);
  }
  const runs = rows.map(runsOf);
  while (runs.length > 0 && runs.at(-1)!.length === 0) runs.pop();
  return runs;
}

/** The style after a Select Graphic Rendition. Colours of the larger palettes are not known. */
function styled(before: Style, parameters: string): Style {
  let style = before;
  for (const code of parameters.split(";").map(Number)) {
    if (code === 0) style = {};
    else if (code === 1) style = { ...style, bold: true };
    else if (code === 2) style = { ...style, dim: true };
    else if (code === 22) style = { ...style, bold: false, dim: false };
    else if (code === 39) style = { ...style, color: undefined };
    else if (code >= 30 && code <= 37) style = { ...style, color: code - 30 };
    else if (code >= 90 && code <= 97) style = { ...style, color: code - 90 + 8 };
  }
  return style;
}

/** Words of one style; two blanks and more part runs, so that columns stay columns in any font. */
function runsOf(cells: readonly Cell[]): Run[] {
  const runs: Run[] = [];
  let open: Run | undefined;
  for (let i = 0; i < cells.length; i++) {
    const { character, style } = cells[i] ?? { character: " ", style: {} };
    const lone = character === " " && (cells[i + 1]?.character ?? " ") !== " " &&
      open !== undefined;
    if (character === " " && !lone) {
      open = undefined;
    } else if (open !== undefined && (lone || same(open.style, style))) {
      open.text += character;
    } else {
      open = { column: i, text: character, style };
      runs.push(open);
    }
  }
  return runs.map((run) => ({ ...run, text: run.text.trimEnd() }));
}

function same(a: Style, b: Style): boolean {
  return a.color === b.color && !a.bold === !b.bold && !a.dim === !b.dim;
}
