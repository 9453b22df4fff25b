// What keeps the page from working is said, in browsers that load no modules too.
(function () {
  function say(text) {
    document.addEventListener("DOMContentLoaded", function () {
      document.getElementById("status").textContent = text;
    });
  }
  if (location.protocol === "file:") {
    say("Opened as a file, this page cannot load its model. Serve the folder, for example: python -m http.server");
  } else if (!("noModule" in document.createElement("script"))) {
    say("This browser is too old for this page; a current one works.");
  }
})();
