// Which data does the Rust side need to give the primary weights that golang.org/x/text gives?
//
// Writes weights.bin, little-endian throughout. Eight u32 counts, then the sections in this order:
//
//	blocks    u16 x 0x1100: for each 256 code points, the number of their page
//	pages     u32 x 256 each: one value per code point (see kind*)
//	elements  u32: the elements of sequences; ccc << 24 | primary weight
//	starters  3 x u32 each: contraction starters: first node, node count, first result
//	nodes     4 x u8 each: the contraction automaton over UTF-8 bytes: low, high, next count, result
//	results   2 x u32 each: position and number of a contraction's elements
//	marks     4 x u32 each: code points that are not plain starters: code point, lead and trail
//	          combining class, number of leading non-starters
//	ideographs 2 x u32 each: first and last of each range of ideographs
//
// The tables behind collate.Collator are read by reflection; every value is then checked against
// the keys that the collator itself gives.
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/collate"
	"golang.org/x/text/language"
	"golang.org/x/text/unicode/norm"
)

const (
	kindImplicit = 0 << 29
	kindOne      = 1 << 29 // ccc << 21 | primary
	kindSequence = 2 << 29 // count << 20 | position in elements
	kindStarter  = 3 << 29 // index into starters
)

// tables are the arrays of the collation table.
type tables struct {
	lookup   func(r rune) uint32
	expand   func(i int) uint32
	contract func(i int) uint32
	nodes    func(i int) [4]byte
	nNodes   int
	nResults int
}

// element is what the primary level needs of a collation element.
type element struct {
	primary uint32
	ccc     uint32
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go run . FOLDER_OF_WEIGHTS_BIN")
		os.Exit(2)
	}
	// The ideographs come from Go itself, the marks from x/text built for it.
	if norm.Version != "15.0.0" || unicode.Version != "15.0.0" {
		fmt.Fprintf(os.Stderr, "%s has Unicode %s and %s, want 15.0.0\n", runtime.Version(), unicode.Version, norm.Version)
		os.Exit(1)
	}
	collator := collate.New(language.Und, collate.Loose)
	t := open(collator)
	out := newWriter(t)
	out.build()
	check(collator, out)
	must(os.WriteFile(filepath.Join(os.Args[1], "weights.bin"), out.bytes(), 0o644))
	samples := filepath.Join(os.Args[1], "../../../testdata/vindex/unicode_random.tsv")
	must(os.WriteFile(samples, random(collator), 0o644))
}

// open finds the table inside the collator. Loose makes its keys primary weights only.
func open(collator *collate.Collator) tables {
	table := reflect.ValueOf(collator).Elem().FieldByName("t").Elem().Elem()
	index := table.FieldByName("Index")
	field := func(name string) reflect.Value { return index.FieldByName(name) }
	index0, values0, more, values := field("Index0"), field("Values0"), field("Index"), field("Values")
	expand, contract := table.FieldByName("ExpandElem"), table.FieldByName("ContractElem")
	nodes := table.FieldByName("ContractTries")
	return tables{
		lookup: func(r rune) uint32 {
			var buf [utf8.UTFMax]byte
			n := utf8.EncodeRune(buf[:], r)
			if n == 1 {
				return uint32(values0.Index(int(buf[0])).Uint())
			}
			block := int(index0.Index(int(buf[0])).Uint())
			for _, b := range buf[1 : n-1] {
				block = int(more.Index(block<<6 + int(b)).Uint())
			}
			return uint32(values.Index(block<<6 + int(buf[n-1])).Uint())
		},
		expand:   func(i int) uint32 { return uint32(expand.Index(i).Uint()) },
		contract: func(i int) uint32 { return uint32(contract.Index(i).Uint()) },
		nodes: func(i int) (node [4]byte) {
			for f := range node {
				node[f] = byte(nodes.Index(i).Field(f).Uint())
			}
			return node
		},
		nNodes:   nodes.Len(),
		nResults: contract.Len(),
	}
}

// decode reads the primary weight and the combining class of a packed collation element.
func decode(packed uint32) element {
	switch {
	case packed >= 0xA0000000: // no primary weight
		return element{0, packed >> 20 & 0xFF}
	case packed >= 0x80000000: // a mark with a primary weight
		return element{packed & 0xFFFF, packed >> 16 & 0xFF}
	default:
		return element{packed & 0x3FFFFE00 >> 9, 0}
	}
}

type writer struct {
	t        tables
	pages    [][256]uint32
	blocks   []uint16
	elements []element
	known    map[string]uint32
	starters [][3]uint32
	nodes    [][4]byte
	results  [][2]uint32
	marks    [][4]uint32
	ideo     [][2]uint32
	// The parts of the big contraction tables that the root collation uses.
	nodeAt map[int]uint32
}

func newWriter(t tables) *writer {
	return &writer{t: t, known: map[string]uint32{}, nodeAt: map[int]uint32{}}
}

func (w *writer) build() {
	seen := map[[256]uint32]uint16{}
	for block := 0; block < 0x1100; block++ {
		var page [256]uint32
		for low := range page {
			page[low] = w.value(rune(block<<8 + low))
		}
		number, ok := seen[page]
		if !ok {
			number = uint16(len(w.pages))
			seen[page] = number
			w.pages = append(w.pages, page)
		}
		w.blocks = append(w.blocks, number)
	}
	w.copyNodes()
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if 0xD800 <= r && r <= 0xDFFF {
			continue
		}
		p := norm.NFD.PropertiesString(string(r))
		// Not only marks: what combines backwards counts as a non-starter too.
		leading := uint32(reflect.ValueOf(p).FieldByName("nLead").Uint())
		if p.LeadCCC() != 0 || p.TrailCCC() != 0 || leading != 0 {
			w.marks = append(w.marks, [4]uint32{uint32(r), uint32(p.LeadCCC()), uint32(p.TrailCCC()), leading})
		}
		if unicode.Is(unicode.Ideographic, r) {
			if n := len(w.ideo); n > 0 && w.ideo[n-1][1] == uint32(r)-1 {
				w.ideo[n-1][1]++
			} else {
				w.ideo = append(w.ideo, [2]uint32{uint32(r), uint32(r)})
			}
		}
	}
}

// value packs what is known about a code point without looking at what follows it.
func (w *writer) value(r rune) uint32 {
	if 0xD800 <= r && r <= 0xDFFF {
		return kindImplicit
	}
	packed := w.t.lookup(r)
	switch {
	case packed == 0:
		return kindImplicit
	case packed >= 0xC0000000 && packed <= 0xDFFFFFFF:
		first := packed >> 4 & 0xFFF
		w.starters = append(w.starters, [3]uint32{first, packed & 0xF, packed >> 16 & 0x1FFF})
		return kindStarter | uint32(len(w.starters)-1)
	default:
		return w.pack(w.sequence(r, packed))
	}
}

func (w *writer) pack(elements []element) uint32 {
	if len(elements) == 1 {
		return kindOne | elements[0].ccc<<21 | elements[0].primary
	}
	position, count := w.place(elements)
	return kindSequence | count<<20 | position
}

func (w *writer) place(elements []element) (position, count uint32) {
	key := fmt.Sprint(elements)
	position, ok := w.known[key]
	if !ok {
		position = uint32(len(w.elements))
		w.known[key] = position
		w.elements = append(w.elements, elements...)
	}
	return position, uint32(len(elements))
}

// sequence gives the elements of a code point that starts no contraction.
func (w *writer) sequence(r rune, packed uint32) []element {
	switch {
	case packed < 0xC0000000:
		return []element{decode(packed)}
	case packed >= 0xF0000000:
		return w.decomposed(r)
	default:
		return w.expansion(packed)
	}
}

func (w *writer) expansion(packed uint32) (elements []element) {
	at := int(packed & 0xFFFF)
	for i := range int(w.t.expand(at)) {
		elements = append(elements, decode(w.t.expand(at+1+i)))
	}
	return elements
}

// decomposed gives the elements of the code points that a code point stands for.
func (w *writer) decomposed(r rune) (elements []element) {
	parts := norm.NFKD.PropertiesString(string(r)).Decomposition()
	if len(parts) == 0 {
		panic(fmt.Sprintf("%U is said to decompose and does not", r))
	}
	for _, part := range string(parts) {
		packed := w.t.lookup(part)
		switch {
		case packed == 0:
			elements = append(elements, element{implicit(part), 0})
		case packed >= 0xC0000000 && packed <= 0xDFFFFFFF:
			// Alone: check finds out where a contraction would match inside a decomposition.
			elements = append(elements, w.result(int(packed>>16&0x1FFF))...)
		default:
			elements = append(elements, w.sequence(part, packed)...)
		}
	}
	return elements
}

func implicit(r rune) uint32 {
	switch {
	case !unicode.Is(unicode.Ideographic, r):
		return uint32(r) + 0x50000
	case r >= 0x4E00 && r <= 0x9FFF || r >= 0xF900 && r <= 0xFAFF:
		return uint32(r) + 0x10000
	default:
		return uint32(r) + 0x20000
	}
}

// result gives the elements of a contraction.
func (w *writer) result(at int) []element {
	packed := w.t.contract(at)
	if packed < 0xC0000000 {
		return []element{decode(packed)}
	}
	return w.expansion(packed)
}

// copyNodes keeps only the automaton's nodes and results that a starter of the root table reaches.
func (w *writer) copyNodes() {
	for s, starter := range w.starters {
		highest := 0
		first := w.copyNode(int(starter[0]), int(starter[1]), &highest)
		results := uint32(len(w.results))
		for i := 0; i <= highest; i++ {
			position, count := w.place(w.result(int(starter[2]) + i))
			w.results = append(w.results, [2]uint32{position, count})
		}
		w.starters[s] = [3]uint32{first, starter[1], results}
	}
}

// copyNode copies a group of n nodes and, behind it, the groups that it leads to; H of a node that
// leads on becomes the distance from the end of its own group to the next group, as in the source.
func (w *writer) copyNode(at, n int, highest *int) uint32 {
	first := len(w.nodes)
	for i := range n {
		w.nodes = append(w.nodes, w.t.nodes(at+i))
	}
	for i := range n {
		node := w.t.nodes(at + i)
		low, high, next, result := int(node[0]), int(node[1]), int(node[2]), int(node[3])
		if result != 0xFF {
			*highest = max(*highest, result)
		}
		if next == 0 {
			if high > low {
				*highest = max(*highest, result+high-low)
			}
			continue
		}
		child := int(w.copyNode(at+n+high, next, highest))
		distance := child - first - n
		if distance > 0xFF {
			panic("the automaton does not fit")
		}
		w.nodes[first+i][1] = byte(distance)
	}
	return uint32(first)
}

// key gives the weights as the collator writes them.
func key(elements []element) (out []byte) {
	for _, e := range elements {
		switch {
		case e.primary == 0:
		case e.primary <= 0x7FFF:
			out = append(out, byte(e.primary>>8), byte(e.primary))
		default:
			out = append(out, byte(e.primary>>16)|0x80, byte(e.primary>>8), byte(e.primary))
		}
	}
	return out
}

// check compares every code point's weights with the collator's.
func check(collator *collate.Collator, w *writer) {
	var buf collate.Buffer
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if 0xD800 <= r && r <= 0xDFFF {
			continue
		}
		var elements []element
		switch value := w.pages[w.blocks[r>>8]][r&0xFF]; value >> 29 {
		case 0:
			if 0xAC00 <= r && r <= 0xD7A3 {
				continue
			}
			elements = []element{{implicit(r), 0}}
		case 1:
			elements = []element{{value & 0x1FFFFF, 0}}
		case 2:
			position, count := value&0xFFFFF, value>>20&0x1FF
			elements = w.elements[position : position+count]
		case 3:
			result := w.results[w.starters[value&0xFFFFF][2]]
			elements = w.elements[result[0] : result[0]+result[1]]
		}
		buf.Reset()
		if want := collator.KeyFromString(&buf, string(r)); !bytes.Equal(key(elements), want) {
			panic(fmt.Sprintf("%U: %x, the collator says %x", r, key(elements), want))
		}
	}
}

func (w *writer) bytes() []byte {
	var out bytes.Buffer
	put := func(data any) { must(binary.Write(&out, binary.LittleEndian, data)) }
	counts := []int{len(w.blocks), len(w.pages), len(w.elements), len(w.starters), len(w.nodes), len(w.results), len(w.marks), len(w.ideo)}
	for _, count := range counts {
		put(uint32(count))
	}
	put(w.blocks)
	put(w.pages)
	for _, e := range w.elements {
		put(e.ccc<<24 | e.primary)
	}
	put(w.starters)
	put(w.nodes)
	put(w.results)
	put(w.marks)
	put(w.ideo)
	fmt.Println("sections:", counts, "bytes:", out.Len())
	return out.Bytes()
}

// random makes strings of code points that meet in unusual ways, with the collator's weights.
func random(collator *collate.Collator) []byte {
	source := rand.New(rand.NewSource(2012))
	var marks, starters, followers, assigned []rune
	t := open(collator)
	for r := rune(1); r <= unicode.MaxRune; r++ {
		if 0xD800 <= r && r <= 0xDFFF {
			continue
		}
		packed := t.lookup(r)
		if norm.NFD.PropertiesString(string(r)).LeadCCC() != 0 {
			marks = append(marks, r)
		}
		if packed >= 0xC0000000 && packed <= 0xDFFFFFFF {
			starters = append(starters, r)
		}
		if packed != 0 {
			assigned = append(assigned, r)
		}
	}
	// What can follow inside a contraction: the blocks of the starters.
	for _, r := range starters {
		for low := range rune(64) {
			if follower := r&^63 + low; t.lookup(follower) != 0 {
				followers = append(followers, follower)
			}
		}
	}
	pick := func(from []rune) rune { return from[source.Intn(len(from))] }
	var out strings.Builder
	var buf collate.Buffer
	for line := 0; line < 6000; line++ {
		var text []rune
		for n := 1 + source.Intn(9); n > 0; n-- {
			switch source.Intn(10) {
			case 0:
				text = append(text, rune(source.Intn(0x250)+1))
			case 1:
				text = append(text, pick(assigned))
			case 2, 3:
				text = append(text, pick(starters))
			case 4, 5:
				text = append(text, pick(followers))
			case 6:
				text = append(text, rune(0xAC00+source.Intn(0x2BA4)))
			case 7:
				text = append(text, rune(source.Intn(0x30000)))
			default:
				for m := 1 + source.Intn(3); m > 0; m-- {
					text = append(text, pick(marks))
				}
				if source.Intn(60) == 0 {
					for m := 0; m < 45; m++ {
						text = append(text, pick(marks))
					}
				}
			}
		}
		sample := strings.TrimRight(strings.ToValidUTF8(string(text), "?"), " ")
		buf.Reset()
		fmt.Fprintf(&out, "%x\t%x\n", sample, collator.KeyFromString(&buf, sample))
	}
	return []byte(out.String())
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
