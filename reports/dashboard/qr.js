// QR codes as SVG.

import { svg } from "./dom.js";
import qrcode from "./vendor/qrcode.js";

const MARGIN = 4;

export function qr(text) {
  const code = qrcode(0, "M");
  code.addData(text);
  code.make();
  const size = code.getModuleCount();
  const path = [];
  for (let row = 0; row < size; row += 1) {
    for (let column = 0; column < size; column += 1) {
      if (code.isDark(row, column)) path.push(`M${column + MARGIN} ${row + MARGIN}h1v1h-1z`);
    }
  }
  const whole = size + 2 * MARGIN;
  return svg("svg", { class: "qr", viewBox: `0 0 ${whole} ${whole}`, role: "img", "aria-label": `QR code of ${text}` }, svg("path", { d: path.join("") }));
}
