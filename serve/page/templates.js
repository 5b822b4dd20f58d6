// A new element of a template of the page. It is imported instead of cloned: the document of a
// template loads no images.
export function instance(template) {
  return document.importNode(document.getElementById(template).content.firstElementChild, true);
}
