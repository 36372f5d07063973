// Run in a page: answers what does not fit there.
const problems = [];
const width = document.documentElement.clientWidth;
const scrolls = document.documentElement.scrollWidth;
if (scrolls > width) problems.push(`the page is ${scrolls} wide in a window of ${width}`);
for (const element of document.querySelectorAll("body *")) {
  if (!element.getClientRects().length || element.matches("select, option, input, script")) continue;
  const box = element.getBoundingClientRect();
  const name = `${element.tagName}.${element.className}`;
  if (box.left < -1 || box.right > width + 1) problems.push(`${name} from ${box.left} to ${box.right}`);
  const hides = getComputedStyle(element).overflowX !== "visible";
  if (hides && !element.matches(".answered") && element.scrollWidth > element.clientWidth + 1) {
    problems.push(`${name} hides a part of ${element.textContent.slice(0, 80)}`);
  }
}
for (const item of document.querySelectorAll("#messages > li")) {
  const bubble = item.getBoundingClientRect();
  const texts = document.createTreeWalker(item, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    if (texts.currentNode.parentElement.closest(".answered")) continue;
    const range = document.createRange();
    range.selectNodeContents(texts.currentNode);
    for (const line of range.getClientRects()) {
      if (line.left < bubble.left - 1 || line.right > bubble.right + 1) problems.push(`outside its bubble: ${texts.currentNode.data}`);
    }
  }
}
for (const picture of document.images) {
  if (!picture.complete || !picture.naturalWidth) problems.push(`not loaded: ${picture.alt}`);
}
return problems;
