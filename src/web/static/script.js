// Pages work without this. With it, they follow what happens.
(() => {
  "use strict";
  const byId = (id) => document.getElementById(id);

  // "/" goes to the page's search.
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select");
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || typing) return;
    const search = document.querySelector("[data-search]");
    if (!search) return;
    event.preventDefault();
    search.focus();
    search.select();
  });

  // A secret can be copied with one press.
  for (const secret of document.querySelectorAll("[data-copy]")) {
    if (!navigator.clipboard) break;
    const text = secret.textContent;
    const button = document.createElement("button");
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    });
    secret.after(button);
  }

  // Parts marked as live are taken from the page as the server makes it now: there is one place that draws them.
  const PAUSE = 1000;
  const TICK = 10000;
  const stream = document.body.dataset.stream;
  let changes, waiting, busy, again;

  const refresh = async () => {
    waiting = undefined;
    if (document.hidden) return void (again = true);
    if (busy) return void (again = true);
    busy = true;
    again = false;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      if (answer.redirected) return location.reload();
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of document.querySelectorAll("[data-live]")) {
        const now = fresh.getElementById(part.id);
        if (!now || part.contains(document.activeElement) || part.outerHTML === now.outerHTML) continue;
        const open = [...part.querySelectorAll("details")].map((details) => details.open);
        part.replaceChildren(...now.childNodes);
        part.hidden = now.hidden;
        part.className = now.className;
        part.querySelectorAll("details").forEach((details, index) => (details.open = open[index] ?? false));
      }
      if (!fresh.body.dataset.stream) stop();
    } catch {
      // The stream's own error says that the service cannot be reached.
    } finally {
      busy = false;
      if (again) soon();
    }
  };
  const soon = () => (waiting ??= setTimeout(refresh, PAUSE));
  const show = (found) => {
    const live = byId("live");
    if (!live) return;
    live.hidden = !changes;
    live.classList.toggle("lost", !found);
  };
  const stop = () => {
    changes?.close();
    changes = undefined;
    clearInterval(ticking);
    show(false);
  };
  let ticking;
  if (stream && window.EventSource) {
    changes = new EventSource(stream);
    changes.addEventListener("open", () => (show(true), soon()));
    changes.addEventListener("change", soon);
    changes.addEventListener("error", () => show(false));
    // What has lasted so long grows without any change.
    ticking = setInterval(soon, TICK);
    document.addEventListener("visibilitychange", () => !document.hidden && changes && soon());
  }

  // The log grows line by line.
  const lines = byId("lines");
  const MOST = 5000;
  if (lines) {
    const search = byId("log-q");
    const channel = byId("log-stream");
    const follow = byId("follow");
    const following = () => follow.querySelector("input").checked;
    const matches = (line) => !search.value || line.textContent.toLowerCase().includes(search.value.toLowerCase());
    const toEnd = () => (lines.scrollTop = lines.scrollHeight);
    if ("whole" in lines.dataset) {
      search.addEventListener("input", () => {
        for (const line of lines.children) line.hidden = !matches(line);
      });
      channel.addEventListener("change", () => (lines.dataset.show = channel.value));
      toEnd();
    }

    let pending = [];
    const draw = () => {
      for (const record of pending) {
        const line = document.createElement("p");
        const time = document.createElement("time");
        const text = document.createElement("span");
        line.className = record.stream;
        time.textContent = record.time.slice(11, 23);
        // Escape codes of terminals say nothing here.
        text.textContent = record.text.replace(/\u001b\[[0-9;?]*[ -/]*[@-~]/g, "");
        line.append(time, text);
        line.hidden = !matches(line);
        lines.append(line);
      }
      pending = [];
      while (lines.childElementCount > MOST) lines.firstElementChild.remove();
      byId("no-lines")?.remove();
      if (following()) toEnd();
    };
    if (lines.dataset.follow && window.EventSource) {
      follow.hidden = false;
      const source = new EventSource(lines.dataset.follow);
      source.addEventListener("log", (event) => {
        if (pending.push(JSON.parse(event.data)) === 1) requestAnimationFrame(draw);
      });
      source.addEventListener("end", () => {
        source.close();
        follow.hidden = true;
      });
      // Whoever scrolls up wants to read.
      lines.addEventListener("wheel", (event) => {
        if (event.deltaY < 0) follow.querySelector("input").checked = false;
      });
    }
  }
})();
