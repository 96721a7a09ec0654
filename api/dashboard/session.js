// The token, for as long as the tab is open. It leaves the page in the Authorization header and nowhere else.

const NAME = "jobyard-token";

export const token = () => sessionStorage.getItem(NAME);
export const signIn = (given) => sessionStorage.setItem(NAME, given);
export const signOut = () => sessionStorage.removeItem(NAME);
