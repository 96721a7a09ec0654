// The token, kept while the tab is open. It is sent in the Authorization header only.

const NAME = "jobyard-token";

export const token = () => sessionStorage.getItem(NAME);
export const signIn = (given) => sessionStorage.setItem(NAME, given);
export const signOut = () => sessionStorage.removeItem(NAME);
