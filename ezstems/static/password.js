// Let whoever types a password look at it.
for (const button of document.querySelectorAll("button[data-shows]")) {
  const input = document.getElementById(button.dataset.shows);
  button.setAttribute("aria-label", `Show: ${input.labels[0].textContent}`);
  button.hidden = false;
  button.addEventListener("click", () => {
    const shown = input.type === "password";
    input.type = shown ? "text" : "password";
    button.setAttribute("aria-pressed", String(shown));
  });
  // Browsers remember what was typed into a text field, never a password.
  input.form.addEventListener("submit", () => {
    input.type = "password";
  });
}
