// Switches hair off and on, and returns the shares of the canvas that changed: after the first click, after both.
() => {
  const pixels = () => [...view.getImageData(0, 0, view.canvas.width, view.canvas.height).data];
  const changed = (a, b) => a.filter((value, at) => value !== b[at]).length / a.length;
  const hair = document.querySelector("[data-part=hair]");
  draw(); // all on one frame: the stream goes on only after this function
  const before = pixels();
  hair.click();
  const without = pixels();
  hair.click();
  return [changed(before, without), changed(before, pixels())];
}
