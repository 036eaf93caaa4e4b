// Follows a stream with the npm package `eventsource` and prints what is
// dispatched, one JSON line each.
import { EventSource } from "eventsource";

const [url, key] = process.argv.slice(2);
const source = new EventSource(url, {
  fetch: (input, init) =>
    fetch(input, { ...init, headers: { ...init.headers, Authorization: `Bearer ${key}` } }),
});
const print = (m) => console.log(JSON.stringify({ id: m.lastEventId, event: m.type, data: m.data ?? "" }));
source.onopen = () => print({ type: "open" });
source.onerror = () => {}; // it reconnects by itself
source.onmessage = print;
for (const name of ["agent_status_change", "workflow_progress_update", "error_notification", "stream_reset"]) {
  source.addEventListener(name, print);
}
