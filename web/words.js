// What the pack's elements say, in the language of the front end. The texts are in strings/*.json, one file for each.
//
// {name} stands for a value. Where a number decides between forms, a text is an object: the value's name under "plural" or
// "ordinal", and a text for each form that the language has (https://www.unicode.org/cldr/charts/latest/supplemental/
// language_plural_rules.html); "=1" is for that number alone. The nodes' own texts are in locales/.

const LANGUAGES = ["en", "zh", "zh-TW", "ja"];

class Words {
  constructor(texts) {
    Object.assign(this, texts);
  }

  /** A text of this language with `values` put in; undefined for one that it does not have. */
  say(text, values = {}) {
    const form = typeof text === "object" ? this.form(text, values) : text;
    return form?.replace(/\{(\w+)\}/g, (_, name) => values[name]);
  }

  form(forms, values) {
    const type = forms.ordinal ? "ordinal" : "cardinal";
    const count = values[forms.ordinal ?? forms.plural];
    return forms[`=${count}`] ?? forms[new Intl.PluralRules(this.language, { type }).select(Number(count))];
  }
}

async function read(language) {
  const texts = await fetch(new URL(`./strings/${language}.json`, import.meta.url));
  return [language, new Words(await texts.json())];
}

const languages = Object.fromEntries(await Promise.all(LANGUAGES.map(read)));

/** The words of a locale such as "zh" or "ja"; English where there is no translation. */
export const wordsFor = (locale) => languages[locale] ?? languages.en;
