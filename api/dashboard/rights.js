// What the token is good for. A token that only reads gets no buttons: each would be refused.

import { post, Refused } from "./api.js";
import { token } from "./session.js";

const HARMLESS = JSON.stringify({ every_s: 86400, job: {} }); // a preview stores nothing, and is refused to a token that only reads

let learnt = null; // the token that was asked about
let isReadOnly = false;

export const mayChange = () => !isReadOnly;

// Asks the service once for each token.
export async function learnRights() {
  if (token() === learnt) return;
  isReadOnly = false;
  if (token() !== null) {
    try {
      await post("/api/schedules/preview", HARMLESS);
    } catch (fault) {
      if (!(fault instanceof Refused) || fault.status === 401) return; // asked again with the next page
      isReadOnly = fault.status === 403;
    }
  }
  learnt = token();
}
