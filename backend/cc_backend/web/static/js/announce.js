// Says things to people who cannot see the page change. Live news at most every 30 s, collected in between;
// what somebody asked for with a key at once, but only the last of several keys.

const NEWS_EVERY_MS = 30000;
const ANSWER_AFTER_MS = 250;

let spokenAt = -NEWS_EVERY_MS;
let waiting = [];
let newsTimer = 0;
let answerTimer = 0;

const put = (place, text) => {
  const region = document.querySelector(`[data-announce="${place}"]`);
  if (region) region.textContent = text;
};

export function news(text) {
  if (!waiting.includes(text)) waiting.push(text);
  if (newsTimer) return;
  newsTimer = setTimeout(() => {
    newsTimer = 0;
    spokenAt = Date.now();
    put("news", waiting.join(". "));
    waiting = [];
  }, Math.max(0, spokenAt + NEWS_EVERY_MS - Date.now()));
}

export function answer(text) {
  clearTimeout(answerTimer);
  answerTimer = setTimeout(() => put("answer", text), ANSWER_AFTER_MS);
}
